// What each step of a rotation makes of the trust root's state. Pure; every function does nothing where its work is done.
import { sha256Hex } from '@isthmus/pki';
import type { KeyPlace } from '../key-store.ts';
import { isSwitched, moved, type RootRef, type Rotation } from './root-rotation.ts';
import type { TrustRootState } from './state.ts';

export const FIRST_KEY_FILE = 'root.key';

/** What becomes of a root. `signing`: signs now. `trusted`: is to sign. `retiring`: what hangs on it is issued anew. `revoked`: gone, and nothing of it is to be believed. */
export type RootMark = { readonly sha256: string; readonly state: 'signing' | 'trusted' | 'retiring' | 'revoked' };

/** The root that signs. */
export function signingRoot(state: TrustRootState): RootRef {
  return { root: state.root, keyFile: state.keyFile ?? FIRST_KEY_FILE, ...(state.keyIn !== undefined && { keyIn: state.keyIn }) };
}

/** What the state says of where a key is: nothing for one in a file, which is the default, or in memory. */
export function keyInOf(place: KeyPlace): Pick<RootRef, 'keyIn'> {
  return place === 'pkcs11' || place === 'program' ? { keyIn: place } : {};
}

/** The rotation that is not over. */
export function openRotation(state: TrustRootState): Rotation | undefined {
  return state.rotation === undefined || state.rotation.step === 'done' ? undefined : state.rotation;
}

/** Roots every bundle holds now, the older first. */
export function authoritiesOf(state: TrustRootState): readonly string[] {
  const rotation = openRotation(state);
  const isDistributed = rotation?.to !== undefined && rotation.step !== 'prepare' && rotation.step !== 'distribute';
  if (!isDistributed || rotation?.to === undefined) return [state.root];
  // A rollback that has nothing to take back but trust ends at once: a bundle made meanwhile needs the old root only.
  if (rotation.isRollback && rotation.step === 'retire') return [rotation.to.root];
  return rotation.isRollback ? [rotation.to.root, rotation.from.root] : [rotation.from.root, rotation.to.root];
}

export function sha256OfRoot(root: string): string {
  return sha256Hex(Buffer.from(root, 'base64'));
}

/** The root the last rotation took away because it was compromised, until the next one begins. */
export function revokedRoots(state: TrustRootState): readonly string[] {
  const { rotation } = state;
  return rotation?.compromised === true && rotation.step === 'done' ? [sha256OfRoot(rotation.from.root)] : [];
}

/** The roots as members are told of them. */
export function rootMarks(state: TrustRootState): readonly RootMark[] {
  const revoked = revokedRoots(state).map((sha256): RootMark => ({ sha256, state: 'revoked' }));
  const signing: RootMark = { sha256: sha256OfRoot(state.root), state: 'signing' };
  const rotation = openRotation(state);
  if (rotation?.to === undefined) return [signing, ...revoked];
  const other = [rotation.from, rotation.to].find((r) => r.root !== state.root);
  if (other === undefined || !authoritiesOf(state).includes(other.root)) return [signing, ...revoked];
  return [signing, { sha256: sha256OfRoot(other.root), state: isSwitched(rotation) ? 'retiring' : 'trusted' }, ...revoked];
}

/** Both roots in every bundle; the sequences reached are what everybody has to acknowledge. */
export function distributed(state: TrustRootState, rotation: Rotation, nowMs: number): TrustRootState {
  const { from, to } = rotation;
  if (to === undefined) throw new TypeError('there is no new root to distribute');
  const bundles = withAuthorities(state, [from.root, to.root]);
  const required = Object.fromEntries(bundles.map((b) => [b.trustDomain, b.sequence]));
  return { ...state, bundles, rotation: moved({ ...rotation, required }, 'prove', nowMs) };
}

/** Signing goes over to the incoming root. */
export function switched(state: TrustRootState, rotation: Rotation, nowMs: number): TrustRootState {
  const { to } = rotation;
  if (to === undefined) throw new TypeError('there is no root to switch to');
  const rest = { ...state };
  delete rest.keyIn;
  return { ...rest, ...to, rotation: moved(rotation, 'reissue', nowMs) };
}

/** The outgoing root leaves every bundle. Its key is destroyed after this is durable. */
export function retired(state: TrustRootState, rotation: Rotation, leftBehind: readonly string[], nowMs: number): TrustRootState {
  const { from, to } = rotation;
  if (to === undefined || state.root !== to.root) throw new TypeError('the outgoing root still signs');
  const gone = { sha256: sha256OfRoot(from.root), retiredAtMs: nowMs, compromised: rotation.compromised };
  const cutOff = [...new Set([...rotation.cutOff, ...leftBehind])].slice(0, 10_000);
  return {
    ...state,
    bundles: withAuthorities(state, [to.root]),
    formerRoots: [...(state.formerRoots ?? []).filter((r) => r.sha256 !== gone.sha256), gone].slice(-32),
    rotation: moved({ ...rotation, cutOff }, 'done', nowMs),
  };
}

function withAuthorities(state: TrustRootState, authorities: readonly string[]): TrustRootState['bundles'] {
  const isSame = (held: readonly string[]): boolean => held.length === authorities.length && authorities.every((a) => held.includes(a));
  // An empty bundle is a fenced trust domain's: no rotation brings a root back into it.
  return state.bundles.map((b) => (b.x509Authorities.length === 0 || isSame(b.x509Authorities) ? b : { ...b, sequence: b.sequence + 1, x509Authorities: [...authorities] }));
}
