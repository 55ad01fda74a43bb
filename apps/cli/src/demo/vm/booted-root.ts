// A bare Debian that is booted: its own systemd runs it in a container, on this machine's network.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@isthmus/runtime';
import { findProgram, type Finished, run } from '../run.ts';
import type { BareRoot } from './bare-root.ts';

export interface BootedRoot {
  /** Runs a command beside its systemd, as root. */
  run(command: readonly string[], options?: { readonly input?: string; readonly limitMs?: number }): Promise<Finished>;
  /** Shuts it down; resolves when nothing of it runs. */
  stop(): Promise<void>;
}

const BOOT_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 60_000;
const POLL_MS = 100;
/** Of no use in a container, and at work while something is measured. */
const MASKED = ['console-getty.service', 'getty.target', 'systemd-logind.service', 'apt-daily.timer', 'apt-daily-upgrade.timer', 'dpkg-db-backup.timer', 'e2scrub_all.timer'];

/** Why nothing can be booted here, or undefined; what only the boot itself shows, `bootRoot` throws. */
export function whyNoBoot(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, to boot a Debian of its own';
  if (findProgram('systemd-nspawn') === undefined) return 'systemd-nspawn is not installed (apt-get install systemd-container)';
  const missing = ['nsenter', 'setpriv'].find((name) => findProgram(name) === undefined);
  return missing === undefined ? undefined : `${missing} is not installed (apt-get install util-linux)`;
}

/** Boots it and resolves once all units of its boot have started. **Throws** what systemd-nspawn or systemctl says. */
export async function bootRoot(root: BareRoot): Promise<BootedRoot> {
  for (const unit of MASKED) symlinkSync('/dev/null', join(root.directory, 'etc/systemd/system', unit));
  // No unit of its own and no registration: whether this machine runs systemd makes no difference. One hierarchy of
  // control groups, as Debian 12 boots with, whatever this machine has.
  // All that are booted so share one control group: one that outlived whoever booted it would meddle with the next.
  const nspawn = spawn('setpriv', ['--pdeathsig', 'TERM', 'systemd-nspawn', '--quiet', `--directory=${root.directory}`, '--register=no', '--keep-unit', '--console=pipe', '--kill-signal=SIGRTMIN+3', '--boot'], {
    env: { ...process.env, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [nspawn.stdout, nspawn.stderr]) stream.on('data', (text: Buffer) => (said = `${said}${String(text)}`.slice(-4_000)));
  const ended = new Promise<void>((resolve) => nspawn.once('close', () => resolve()));
  const inside = (command: readonly string[], options: { readonly input?: string; readonly limitMs?: number } = {}): Promise<Finished> =>
    run('nsenter', ['--target', String(firstChildOf(nspawn) ?? 0), '--all', 'env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LANG=C', 'TERM=dumb', ...command], { limitMs: 120_000, ...options });
  const stop = async (): Promise<void> => {
    if (nspawn.exitCode === null && nspawn.signalCode === null) nspawn.kill('SIGTERM');
    const limit = systemClock.setTimer(STOP_LIMIT_MS, () => nspawn.kill('SIGKILL'));
    await ended;
    limit.cancel();
  };
  const deadlineMs = systemClock.monotonicMs() + BOOT_LIMIT_MS;
  for (;;) {
    if (nspawn.exitCode !== null || nspawn.signalCode !== null) throw new Error(`systemd-nspawn: ${said}`);
    const state = firstChildOf(nspawn) === undefined ? undefined : await inside(['systemctl', 'is-system-running', '--wait'], { limitMs: BOOT_LIMIT_MS });
    if (state !== undefined && /^(?:running|degraded)$/m.test(state.stdout)) return { run: inside, stop };
    if (systemClock.monotonicMs() > deadlineMs) {
      await stop();
      throw new Error(`it did not boot within ${BOOT_LIMIT_MS / 1_000} s: ${state?.stdout ?? ''}${state?.stderr ?? ''}${said}`);
    }
    await systemClock.sleep(POLL_MS);
  }
}

/** The container's own first process (proc(5)). */
function firstChildOf(nspawn: ChildProcess): number | undefined {
  const pid = nspawn.pid ?? 0;
  try {
    const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    return child === undefined || child === '' ? undefined : Number(child);
  } catch {
    return undefined;
  }
}
