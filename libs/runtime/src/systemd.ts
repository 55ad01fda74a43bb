// What systemd is told of this process: that it serves, and which process is the one to watch (sd_notify(3)).
import { execFile } from 'node:child_process';

/** Assignments of sd_notify(3), such as `READY: '1'`. */
export type ServiceState = Readonly<Record<'READY' | 'MAINPID' | 'STATUS', string>>;

const LIMIT_MS = 10_000;

/**
 * Tells systemd; resolves once it has taken it, at once where nobody asked (no `NOTIFY_SOCKET`). Answers what went wrong,
 * or undefined. Node has no datagram socket of the family that systemd listens on, so its own program says it: the unit
 * needs `NotifyAccess=all`.
 */
export function tellSystemd(state: Partial<ServiceState>, environment: NodeJS.ProcessEnv = process.env): Promise<string | undefined> {
  if (environment['NOTIFY_SOCKET'] === undefined) return Promise.resolve(undefined);
  const assignments = Object.entries(state).map(([name, value]) => `${name}=${value.replaceAll(/\s+/g, ' ')}`);
  return new Promise((resolve) => {
    execFile('systemd-notify', assignments, { env: environment, timeout: LIMIT_MS }, (error, _stdout, stderr) => resolve(error === null ? undefined : stderr.trim() || error.message));
  });
}
