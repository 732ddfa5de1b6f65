# Every target sets up what it needs; the first run on a machine takes a minute or two for that.

export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
node := node_modules/node/bin/node

.PHONY: help ok test test-vm sim mutants conformance unit-file lab soak campaign demo build install \
  bench-failover bench-stability bench-proposals bench-lb bench-storage cleanup setup packages root

help:
	@echo 'make demo            three hosts, the real CLI, a killed leader: what a client sees (root)'
	@echo 'make test            everything (root)'
	@echo 'make ok              types, lint, tidy and unit tests: the fast gate'
	@echo 'make sim SEEDS=500   the cluster in one thread, by seed; SEED=17 replays one'
	@echo 'make mutants         each known bug put in: what catches it, and how soon'
	@echo 'make lab             real agents in network namespaces (root)'
	@echo 'make test-vm         what needs a kernel with IPVS, in an emulated machine (root)'
	@echo 'make soak            balancing at full load, a fault every 10 s: no leak; MINUTES=10 (root)'
	@echo 'make campaign        every fault, on three and five nodes: never two holders; RUNS=30 (root)'
	@echo 'make build           bundle into dist/, run as bin/holdfast'
	@echo 'make install         the built program, its Node and the unit into /usr (root; DESTDIR=)'
	@echo 'make bench-failover  failover beside keepalived; RUNS=10 (root)'
	@echo 'make bench-stability elections that nobody needed, under hardship; MINUTES=15 (root)'
	@echo 'make bench-proposals writes a second and their latency beside etcd; ROUNDS=5 (root)'
	@echo 'make bench-lb        balancing beside HAProxy and nginx; ROUNDS=5 (root)'
	@echo 'make bench-storage   what a million writes leave on disk; WRITES=1000000'
	@echo 'make cleanup         remove what an interrupted lab left behind (root)'

setup:
	@packaging/setup.sh

packages: root
	@packaging/setup.sh packages

root:
	@[ "$$(id -u)" = 0 ] || { echo 'this needs root: it makes network namespaces' >&2; exit 1; }

ok: setup
	@npm run --silent ok

build: setup
	@npm run --silent build

# The cheap checks first; then whatever touches this machine's kernel, in namespaces of its own.
test: packages
	@npm run --silent ok
	@npm run --silent build
	@npm run --silent sim -- --seeds=2000
	@npm run --silent conformance
	@npm run --silent unit-file
	@packaging/setup.sh vm
	@npm run --silent lab-and-rest
	@echo 'everything passed: types, lint, tidy, unit, simulator and its mutants,' \
	  'conformance with the real kernel, the unit file, the lab, the test VM'

install: build
	@$(node) packaging/install.ts

sim: setup
	@npm run --silent sim -- $(if $(SEED),--seed=$(SEED) $(if $(TRACE),--trace=$(TRACE)),--seeds=$(or $(SEEDS),100))

mutants: setup
	@npm run --silent mutants

conformance: packages
	@npm run --silent conformance

unit-file: packages
	@npm run --silent unit-file

lab: packages build
	@npm run --silent lab

test-vm: root
	@packaging/setup.sh vm
	@npm run --silent build
	@npm run --silent vm

soak: packages build
	@HOLDFAST_SOAK_MINUTES=$(or $(MINUTES),10) \
	  $(node) --test --test-reporter=spec test/lab/lb-soak.test.ts

campaign: packages build
	@RUNS=$(or $(RUNS),30) $(node) test/lab/campaign.ts

demo: packages build
	@$(node) test/lab/demo.ts

bench-failover: packages build
	@RUNS=$(or $(RUNS),10) $(node) bench/failover.ts

bench-stability: packages build
	@$(node) bench/stability.ts

bench-proposals: root
	@packaging/setup.sh etcd
	@ROUNDS=$(or $(ROUNDS),5) $(node) bench/proposals.ts

bench-lb: root
	@packaging/setup.sh balancers
	@npm run --silent build
	@ROUNDS=$(or $(ROUNDS),5) $(node) bench/balancing.ts

bench-storage: setup
	@WRITES=$(or $(WRITES),1000000) $(node) bench/storage.ts

cleanup: packages
	@$(node) test/lab/cleanup.ts
