// Room for first bytes: taken when they are there to be read, kept until the endpoint has them, used again.
import { type FixedMemory, fixedMemory } from '../../transport/linux/libc.ts';

/** A hello with post-quantum key shares is about 1.7 KiB. One that does not fit is read in another way. */
export const HELLO_ROOM_BYTES = 4_096;
const MAX_IDLE = 256;

/** **Bounds** 1 MiB of idle rooms. A room belongs to whoever took it until it is given back. */
export class HelloRooms {
  readonly #idle: FixedMemory[] = [];

  take(): FixedMemory {
    return this.#idle.pop() ?? fixedMemory(HELLO_ROOM_BYTES);
  }

  giveBack(room: FixedMemory): void {
    if (this.#idle.length < MAX_IDLE) this.#idle.push(room);
  }
}
