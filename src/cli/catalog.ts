/** Every command by its first word, each in a file that is loaded when it is called for. */
import type { Register } from './context.ts';

export const catalog: Readonly<Record<string, () => Promise<Register>>> = {
  init: async () => (await import('./commands/init.ts')).registerInit,
  join: async () => (await import('./commands/join.ts')).registerJoin,
  agent: async () => (await import('./commands/agent.ts')).registerAgent,
  status: async () => (await import('./commands/status.ts')).registerStatus,
  doctor: async () => (await import('./commands/doctor.ts')).registerDoctor,
  apply: async () => (await import('./commands/apply.ts')).registerApply,
  diff: async () => (await import('./commands/apply.ts')).registerDiff,
  get: async () => (await import('./commands/get.ts')).registerGet,
  vip: async () => (await import('./commands/vip.ts')).registerVip,
  frontend: async () => (await import('./commands/frontend.ts')).registerFrontend,
  backend: async () => (await import('./commands/backend.ts')).registerBackend,
  member: async () => (await import('./commands/member.ts')).registerMember,
  transfer: async () => (await import('./commands/transfer.ts')).registerTransfer,
  token: async () => (await import('./commands/token.ts')).registerToken,
  cert: async () => (await import('./commands/cert.ts')).registerCert,
  recover: async () => (await import('./commands/recover.ts')).registerRecover,
  snapshot: async () => (await import('./commands/snapshot.ts')).registerSnapshot,
  leave: async () => (await import('./commands/leave.ts')).registerLeave,
  reset: async () => (await import('./commands/reset.ts')).registerReset,
  cleanup: async () => (await import('./commands/cleanup.ts')).registerCleanup,
  version: async () => (await import('./commands/version.ts')).registerVersion,
};
