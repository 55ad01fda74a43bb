// Who is at the other end of a Unix socket, as the kernel says it: process, user, group and program.
import { close as closeFd } from 'node:fs';
import { readFile, readlink, stat } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { messageOf } from '@isthmus/model';
import { fail } from './errors.ts';

export type PeerCredentials = {
  /** 0 where the peer is in a process namespace that cannot be seen from here. */
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
  /**
   * Path of the program the process runs; undefined where it cannot be told for sure: the process has ended, belongs to
   * a user whose programs we may not see, or its file is not the one that path names here (replaced, deleted, or mounted
   * over in a namespace of its own).
   */
  readonly path?: string;
};

/** Reads the credentials of an accepted connection's other end. **Throws** PEER_CREDENTIALS when the kernel does not tell. */
export type ReadPeer = (socket: Socket) => Promise<PeerCredentials>;

// Linux's numbers on x64 and arm64; unix(7), and SO_PEERPIDFD since Linux 6.5.
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERPIDFD = 77;
const UCRED_BYTES = 12;

/** Prepares reading peers. **Throws** PEER_CREDENTIALS on other systems than Linux on x64 and arm64, and without FFI. */
export async function openPeerCredentials(): Promise<ReadPeer> {
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
    throw fail('PEER_CREDENTIALS', `peer credentials are read on Linux on x64 and arm64 only, this is ${process.platform} on ${process.arch}`);
  }
  const getsockopt = await loadGetsockopt();
  return async (socket) => {
    const fd = (socket as unknown as { readonly _handle?: { readonly fd?: number } })._handle?.fd;
    if (fd === undefined || fd < 0) throw fail('PEER_CREDENTIALS', 'the connection has ended');
    const ucred = Buffer.alloc(UCRED_BYTES);
    if (!getsockopt(fd, SO_PEERCRED, ucred)) throw fail('PEER_CREDENTIALS', 'the kernel does not tell who the peer is');
    const peer = { pid: ucred.readInt32LE(0), uid: ucred.readUInt32LE(4), gid: ucred.readUInt32LE(8) };
    // The descriptor of the process is taken now: while it names a live process, the pid is nobody else's.
    const word = Buffer.alloc(4);
    const pidFd = getsockopt(fd, SO_PEERPIDFD, word) ? word.readInt32LE(0) : undefined;
    try {
      const path = peer.pid > 0 ? await programOf(peer, pidFd) : undefined;
      return path === undefined ? peer : { ...peer, path };
    } finally {
      if (pidFd !== undefined) closeFd(pidFd, () => undefined);
    }
  };
}

type Getsockopt = (fd: number, option: number, into: Buffer) => boolean;

async function loadGetsockopt(): Promise<Getsockopt> {
  try {
    const { default: koffi } = await import('koffi');
    const call = koffi.load(null).func('int getsockopt(int, int, int, void *, void *)') as unknown as (...args: readonly unknown[]) => number;
    return (fd, option, into) => {
      const size = Buffer.alloc(4);
      size.writeInt32LE(into.length);
      return call(fd, SOL_SOCKET, option, into, size) === 0 && size.readInt32LE(0) === into.length;
    };
  } catch (error) {
    throw fail('PEER_CREDENTIALS', `system calls cannot be made from this program: ${messageOf(error)}`, { hint: 'install it with its optional native part (koffi)', cause: error });
  }
}

/**
 * The path of the peer's program. The file behind the process must be the file that path names for us: a process in a
 * mount namespace of its own may show any path. Checked last that the process that connected still lives, so that
 * nothing of the above was read of another one with its pid.
 */
async function programOf(peer: PeerCredentials, pidFd: number | undefined): Promise<string | undefined> {
  const directory = `/proc/${peer.pid}`;
  try {
    const path = await readlink(`${directory}/exe`);
    const [behind, named] = await Promise.all([stat(`${directory}/exe`), stat(path)]);
    if (behind.dev !== named.dev || behind.ino !== named.ino) return undefined;
    return (await isAlive(peer, pidFd)) ? path : undefined;
  } catch {
    return undefined;
  }
}

/** Before Linux 6.5 there is no descriptor to ask; then the process of that pid must at least be the same user's. */
async function isAlive(peer: PeerCredentials, pidFd: number | undefined): Promise<boolean> {
  if (pidFd === undefined) return (await stat(`/proc/${peer.pid}`)).uid === peer.uid;
  const info = await readFile(`/proc/self/fdinfo/${pidFd}`, 'utf8');
  return new RegExp(`^Pid:\\s+${peer.pid}$`, 'm').test(info);
}
