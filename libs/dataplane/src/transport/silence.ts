// How long a peer may leave sent bytes unacknowledged: a black hole (no RST, no FIN) is found out in seconds, not in a quarter of an hour.
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import type koffi from 'koffi';

/** The kernel gives a connection up after so long without an acknowledgement of what was sent (RFC 5482, tcp(7); reliability 79). */
export const SILENCE_MS = 10_000;

const IPPROTO_TCP = 6;
const TCP_USER_TIMEOUT = 18;

type SetSocketOption = (fd: number, level: number, option: number, value: Uint8Array, sizeBytes: number) => number;
let setSocketOption: SetSocketOption | undefined;
let isLoaded = false;

/**
 * Puts the limit on one of Node's own sockets. Node has no call for it, so it takes the C library's; where that cannot be
 * had, or on another system than Linux, the kernel's own patience stays. False when nothing was set.
 */
export function limitSilence(socket: Socket, silenceMs = SILENCE_MS): boolean {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  const call = load();
  if (call === undefined || typeof fd !== 'number' || fd < 0) return false;
  const value = new Uint8Array(4);
  new DataView(value.buffer).setUint32(0, silenceMs, true);
  return call(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, value, value.length) === 0;
}

function load(): SetSocketOption | undefined {
  if (isLoaded) return setSocketOption;
  isLoaded = true;
  if (process.platform !== 'linux') return undefined;
  try {
    const ffi = createRequire(import.meta.url)('koffi') as typeof koffi;
    setSocketOption = ffi.load(null).func('int setsockopt(int, int, int, void *, int)') as unknown as SetSocketOption;
  } catch {
    // No FFI here: connections are as patient as the kernel is.
  }
  return setSocketOption;
}
