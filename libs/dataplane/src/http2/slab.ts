// Memory that frames are written to: slabs that many connections take turns with, used again once the system has what was in them.

/** A slab serves until less than `SLAB_REST_BYTES` of it are left. */
export const SLAB_BYTES = 65_536;
const SLAB_REST_BYTES = 2048;
/** Of each kind, kept for those who come next. */
const MAX_IDLE_SLABS = 32;

/** Bytes up to `position` belong to those who handed them to a socket: they are not written again before all of them are sent. */
export type Slab = { readonly bytes: Buffer; position: number; isIdle: boolean; /** Hand-overs not yet sent. */ unsent: number };

const empty: Slab[] = [];
const begun: Slab[] = [];

/** A slab with room for `count` bytes behind its position. */
export function takeSlab(count: number): Slab {
  if (count <= SLAB_BYTES) {
    const slab = (count <= SLAB_REST_BYTES ? begun.pop() : undefined) ?? empty.pop();
    if (slab !== undefined) {
      slab.isIdle = false;
      return slab;
    }
  }
  return { bytes: Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, count)), position: 0, isIdle: false, unsent: 0 };
}

/** Its writer is done with it; another may go on where this one stopped. */
export function giveBackSlab(slab: Slab): void {
  slab.isIdle = true;
  if (slab.unsent === 0) slab.position = 0;
  if (slab.position === 0) keep(empty, slab);
  else if (slab.bytes.length - slab.position >= SLAB_REST_BYTES) keep(begun, slab);
}

/** One hand-over of it was sent, or never will be. */
export function slabSent(slab: Slab): void {
  slab.unsent -= 1;
  if (slab.unsent > 0 || !slab.isIdle) return;
  const at = begun.indexOf(slab);
  if (at >= 0) begun.splice(at, 1);
  slab.position = 0;
  keep(empty, slab);
}

function keep(idle: Slab[], slab: Slab): void {
  if (idle.length < MAX_IDLE_SLABS && slab.bytes.length === SLAB_BYTES) idle.push(slab);
}
