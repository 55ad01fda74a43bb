// A bare Debian that stands for a VM: only its essential packages, changed by nobody else, and gone afterwards.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findProgram, type Finished, run } from '../run.ts';

export interface BareRoot {
  /** Where it lies on this machine. */
  readonly directory: string;
  /** Runs a command in it to its end, as root, with its own processes and this machine's network. */
  run(command: readonly string[], options?: { readonly input?: string; readonly limitMs?: number }): Promise<Finished>;
  /** Starts a command in it; killing what is answered kills all of it. */
  start(command: readonly string[]): ChildProcess;
  /** Sends a signal to the program that `start` started, and not to what holds it. */
  signal(started: ChildProcess, signal: NodeJS.Signals): void;
  remove(): void;
}

/** How systemd would start the agent: its own user, and the right to low ports. */
export const AS_AGENT = ['setpriv', '--reuid=isthmus', '--regid=isthmus', '--clear-groups', '--inh-caps=+net_bind_service', '--ambient-caps=+net_bind_service'];

/** Why there can be no bare root here, or undefined. */
export function whyNoBareRoot(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root, to make a Debian of its own';
  const missing = ['mmdebstrap', 'dpkg-deb', 'unshare'].filter((program) => findProgram(program) === undefined);
  return missing.length === 0 ? undefined : `${missing.join(', ')} not installed (apt-get install mmdebstrap dpkg util-linux)`;
}

/** Makes one with the packages that ours depend on. **Throws** what mmdebstrap says. */
export async function makeBareRoot(): Promise<BareRoot> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-bare-'));
  const made = await run('mmdebstrap', ['--mode=root', '--variant=essential', '--include=adduser,libatomic1,libstdc++6', 'bookworm', directory], { limitMs: 300_000 });
  if (made.code !== 0) throw new Error(`mmdebstrap: ${made.stderr.slice(-2_000)}`);
  // Its own mounts and processes: nothing stays mounted or running once the command is over.
  const inside = (command: readonly string[]): [string, string[]] => [
    'unshare',
    ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', 'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C "$@"; exit $?', directory, ...command],
  ];
  return {
    directory,
    run: (command, options = {}) => run(...inside(command), { limitMs: 120_000, ...options }),
    start: (command) => spawn(...inside(command), { stdio: ['ignore', 'pipe', 'pipe'] }),
    signal: (started, signal) => {
      const program = started.pid === undefined ? undefined : lastOf(started.pid);
      if (program !== undefined && program !== started.pid) process.kill(program, signal);
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** unshare, its shell, and the program: the end of the chain of first children (proc(5)). */
function lastOf(pid: number): number {
  const [child] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  return child === undefined || child === '' ? pid : lastOf(Number(child));
}
