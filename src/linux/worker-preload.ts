/**
 * Run in a worker process before its own module: ordinary priority for all its threads, and an end
 * together with the agent. Traffic must never compete with the lease.
 */

import { takeNormalPriority } from './priority.ts';
import { endWithParent } from './process.ts';

takeNormalPriority();
endWithParent(process.ppid);
