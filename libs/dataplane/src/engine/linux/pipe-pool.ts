// Pipes for splice: kept for reuse, because making one costs more than most connections carry.
import { openPipe } from '../../transport/linux/libc.ts';
import type { Loop } from '../../transport/linux/loop.ts';

/** An empty pipe; whoever has it owns it. */
export type Pipe = { readonly readFd: number; readonly writeFd: number };

export const PIPE_BYTES = 1 << 20;
const MAX_IDLE = 16;

/** **Owns** the idle pipes. Only an empty pipe may come back: what is in one belongs to a single connection. */
export class PipePool {
  readonly #loop: Loop;
  readonly #idle: Pipe[] = [];

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  /** Undefined when the process has no descriptor left: the bytes are copied then. */
  take(): Pipe | undefined {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    const pipe = openPipe(PIPE_BYTES);
    if (pipe === undefined) return undefined;
    this.#loop.own(pipe.readFd);
    this.#loop.own(pipe.writeFd);
    return pipe;
  }

  giveBack(pipe: Pipe): void {
    if (this.#idle.length < MAX_IDLE) this.#idle.push(pipe);
    else this.discard(pipe);
  }

  /** For a pipe that still holds bytes. */
  discard(pipe: Pipe): void {
    this.#loop.closeOwn(pipe.readFd);
    this.#loop.closeOwn(pipe.writeFd);
  }

  close(): void {
    for (const pipe of this.#idle.splice(0)) this.discard(pipe);
  }
}
