// Carries a rotation of the root forward: hears members, takes the next turn whenever something changed, tells how far it is.
import { X509Certificate } from 'node:crypto';
import { type Member, messageOf, quote } from '@isthmus/model';
import { draftRoot, draftRootLink, signDraft } from '@isthmus/pki';
import type { trust } from '@isthmus/rpc';
import { backoff, programVersion } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { MembersTrust } from './members-trust.ts';
import type { Root, RootOptions } from './root.ts';
import { beginRotation, behind, hurried, moved, nextTurn, type Participant, rolledBack, type Rotation, ROTATION_STEPS, type RotationFacts, type RotationStep, type RotationTurn, type Waiting, waitingFor, withoutHold } from './root-rotation.ts';
import { distributed, keyInOf, openRotation, retired, rootMarks, sha256OfRoot, signingRoot, switched } from './rotation-state.ts';
import type { TrustRootState } from './state.ts';

/** Expiry of certificates and limits of time bring a step on without anybody telling anything. */
const RECHECK_MS = 1_000;
const MAX_SHOWN = 500;

/** One member, as an operator sees it during a rotation. */
export type ClusterTrust = {
  readonly cluster: string;
  readonly isConnected: boolean;
  readonly heardAtMs: number | undefined;
  /** Processes of the cluster that are known. */
  readonly processes: number;
  /** Of them, those that acknowledged every bundle with both roots. */
  readonly acknowledged: number;
  /** Of them, those with a live certificate of the root that goes, as far as they were heard. */
  readonly onOldRoot: number;
  /** Of them, those that were not heard since this process or their control plane started. */
  readonly unheard: number;
};

/** The whole of the federation's trust, for `isthmus trust status`. */
export type RotationDocument = {
  /** Of the trust root's program. */
  readonly version?: string;
  readonly federation: string;
  /** Where the key of the root that signs is, and whether it signed when it was last asked. */
  readonly key?: { readonly place: string; readonly isAvailable: boolean };
  readonly roots: readonly { readonly sha256: string; readonly state: string; readonly expiresAtMs?: number }[];
  readonly rotation?: Omit<Rotation, 'from' | 'to' | 'link' | 'required'> & {
    readonly fromSha256: string;
    readonly toSha256?: string;
    readonly waitingFor: readonly Waiting[];
    readonly waitingCount: number;
    readonly lastError?: string;
  };
  readonly clusters: readonly ClusterTrust[];
};

export type RotateCommand = {
  readonly action: 'begin' | 'pause' | 'resume' | 'rollback' | 'without';
  readonly without: readonly string[];
  readonly compromised: boolean;
  readonly holdBefore?: RotationStep | undefined;
};

/** idle → (turn → waiting)* → closed. One turn at a time; what comes meanwhile is looked at in the next. */
export class Rotor {
  readonly members = new MembersTrust();
  readonly #root: Root;
  readonly #options: RootOptions;
  readonly #retry;
  #timer: { cancel(): void } | undefined;
  #turning: Promise<void> | undefined;
  #isDirty = false;
  #isClosed = false;
  #lastError: string | undefined;
  /** Asked for once a process: a token is not searched at every report. */
  #destroyedKey: string | undefined;

  constructor(root: Root, options: RootOptions) {
    this.#root = root;
    this.#options = options;
    this.#retry = backoff({ baseMs: 500, maxMs: 15_000, random: options.random });
    this.poke();
  }

  /** Takes a member's report and looks whether it brings the rotation on. */
  report(member: Member, report: trust.TrustReport): void {
    this.members.take(member, report, this.#options.clock.nowMs());
    this.poke();
  }

  /** Does what an operator asks; answers how things stand then. **Throws** IDENTITY_ROTATION_REFUSED, STATE_*. */
  async command(command: RotateCommand): Promise<RotationDocument> {
    const { clock, log } = this.#options;
    const nowMs = clock.nowMs();
    await this.#root.change((state) => ({ ...state, rotation: this.#commanded(state, command, nowMs) }));
    log.info('rotation: command taken', { action: command.action, compromised: command.compromised, without: command.without.length });
    this.poke();
    return this.document();
  }

  /** How things stand now. */
  document(): RotationDocument {
    const state = this.#root.current();
    const { rotation } = state;
    const participants = this.members.participants(state.members);
    const certificates = new Map([signingRoot(state), rotation?.from, rotation?.to].flatMap((r) => (r === undefined ? [] : [[sha256OfRoot(r.root), r.root] as const])));
    const roots = rootMarks(state).map(({ sha256, state: mark }) => {
      const root = certificates.get(sha256);
      return { sha256, state: mark, ...(root !== undefined && { expiresAtMs: Date.parse(new X509Certificate(Buffer.from(root, 'base64')).validTo) }) };
    });
    return {
      version: programVersion(),
      federation: state.federation,
      key: { place: this.#root.signer.key.place, isAvailable: this.#root.signer.isAvailable },
      roots,
      ...(rotation !== undefined && { rotation: this.#shown(state, rotation) }),
      clusters: state.members.map((m) => this.#clusterTrust(m, state, participants.filter((p) => p.cluster === m.cluster))),
    };
  }

  /** Looks at the rotation anew, now or right after the turn under way. */
  poke(): void {
    this.#isDirty = true;
    if (this.#isClosed) return;
    this.#turning ??= this.#turns().finally(() => (this.#turning = undefined));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#turning;
  }

  async #turns(): Promise<void> {
    this.#timer?.cancel();
    try {
      while (this.#isDirty && !this.#isClosed) {
        this.#isDirty = false;
        while (!this.#isClosed && (await this.#turn()));
      }
      this.#lastError = undefined;
      this.#retry.reset();
      if (openRotation(this.#root.current()) !== undefined) this.#again(RECHECK_MS);
    } catch (error) {
      this.#lastError = messageOf(error);
      this.#options.log.error('rotation: the step could not be done, it is tried again', { error: this.#lastError });
      this.#again(Math.max(500, this.#retry.nextMs()));
    }
  }

  #again(delayMs: number): void {
    if (!this.#isClosed) this.#timer = this.#options.clock.setTimer(delayMs, () => this.poke());
  }

  /** One turn; whether another may follow at once. */
  async #turn(): Promise<boolean> {
    const { log, keys } = this.#options;
    const before = this.#root.current();
    // A key whose root is gone is destroyed here, so that a process killed between commit and destruction does it at its next start.
    const goneKey = goneKeyOf(before);
    if (goneKey !== undefined && goneKey !== this.#destroyedKey) {
      await keys.destroy(goneKey);
      this.#destroyedKey = goneKey;
    }
    const rotation = openRotation(before);
    if (rotation === undefined) return false;
    const turn = nextTurn(rotation, this.#facts(before, rotation));
    if (turn.kind !== 'do') return false;
    if (turn.leftBehind.length > 0) log.warn('rotation: goes on without', { step: rotation.step, count: turn.leftBehind.length, names: turn.leftBehind.slice(0, 20).join(' ') });
    const made = turn.action === 'make-root' ? await this.#makeRoot(rotation) : undefined;
    // Decided anew inside: an operator may have paused it meanwhile.
    await this.#root.change((state) => (state.rotation === rotation ? this.#done(state, rotation, turn, made) : undefined));
    log.info('rotation: step done', { id: rotation.id, action: turn.action, next: turn.next });
    return true;
  }

  #done(state: TrustRootState, rotation: Rotation, turn: Extract<RotationTurn, { kind: 'do' }>, made: Pick<Rotation, 'to' | 'link'> | undefined): TrustRootState {
    const nowMs = this.#options.clock.nowMs();
    switch (turn.action) {
      case 'make-root':
        return { ...state, rotation: moved({ ...rotation, ...made }, turn.next, nowMs) };
      case 'distribute':
        return distributed(state, rotation, nowMs);
      case 'switch':
        return switched(state, rotation, nowMs);
      case 'retire':
        return retired(state, rotation, turn.leftBehind, nowMs);
      case 'go':
        return { ...state, rotation: moved({ ...rotation, cutOff: [...new Set([...rotation.cutOff, ...turn.leftBehind])] }, turn.next, nowMs) };
    }
  }

  async #makeRoot(rotation: Rotation): Promise<Pick<Rotation, 'to' | 'link'>> {
    const { clock, federation, rootTtlMs = 3_650 * 86_400_000 } = this.#options;
    const keyFile = keyFileOf(rotation);
    const key = await this.#root.makeKey(keyFile);
    const nowMs = clock.nowMs();
    const root = await signDraft(draftRoot({ key: key.publicKey, federation, nowMs, ttlMs: rootTtlMs }), key);
    const to = { root: root.toString('base64'), keyFile, ...keyInOf(key.place) };
    // A compromised root vouches for nothing any more.
    if (rotation.compromised) return { to };
    const { cert, signer } = this.#root.ca();
    const link = await signDraft(draftRootLink({ issuer: { cert, key: signer.publicKey }, root, federation, nowMs }), signer);
    return { to, link: link.toString('base64') };
  }

  #commanded(state: TrustRootState, command: RotateCommand, nowMs: number): Rotation {
    const rotation = openRotation(state);
    const refuse = (why: string, hint?: string): Error => fail('IDENTITY_ROTATION_REFUSED', why, hint === undefined ? {} : { hint });
    if (command.action === 'begin') {
      if (rotation !== undefined && command.compromised && !rotation.isRollback) return hurried(rotation);
      if (rotation !== undefined) throw refuse('a rotation is under way', 'see how far it is with `isthmus trust status`; --resume, --rollback and --without act on it');
      const unknown = command.without.filter((name) => !this.#isParticipant(state, name));
      if (unknown.length > 0) throw refuse(`nobody is named ${unknown.map((n) => quote(n)).join(', ')}`, 'names are as `isthmus trust status` shows them, such as east/control-plane or east/agent/vm-1');
      const id = `${nowMs.toString(36)}`;
      return beginRotation({ id, nowMs, from: signingRoot(state), compromised: command.compromised, without: command.without, holdBefore: command.holdBefore });
    }
    if (rotation === undefined) throw refuse('no rotation is under way', 'begin one with `isthmus trust rotate`');
    switch (command.action) {
      case 'pause':
        return { ...rotation, paused: true };
      case 'resume':
        return { ...withoutHold(rotation), ...(command.holdBefore !== undefined && { holdBefore: command.holdBefore }), paused: false, without: [...new Set([...rotation.without, ...command.without])] };
      case 'without': {
        const unknown = command.without.filter((name) => !this.#isParticipant(state, name));
        if (unknown.length > 0) throw refuse(`nobody is named ${unknown.map((n) => quote(n)).join(', ')}`, 'names are as `isthmus trust status` shows them');
        return { ...rotation, without: [...new Set([...rotation.without, ...command.without])] };
      }
      case 'rollback': {
        const turned = rolledBack(rotation, nowMs);
        if (!turned.ok) throw refuse(`it cannot be rolled back: ${turned.why}`);
        return turned.rotation;
      }
    }
  }

  #isParticipant(state: TrustRootState, name: string): boolean {
    return this.members.participants(state.members).some((p) => p.name === name);
  }

  #facts(state: TrustRootState, rotation: Rotation): RotationFacts {
    return {
      participants: this.members.participants(state.members),
      trustDomains: new Set(state.bundles.map((b) => b.trustDomain)),
      fromSha256: sha256OfRoot(rotation.from.root),
      nowMs: this.#options.clock.nowMs(),
    };
  }

  #shown(state: TrustRootState, rotation: Rotation): NonNullable<RotationDocument['rotation']> {
    const { id, startedAtMs, step, stepSinceMs, paused, holdBefore, compromised, isRollback, without, cutOff, history, from, to } = rotation;
    const waiting = waitingFor(rotation, this.#facts(state, rotation));
    return {
      id,
      startedAtMs,
      step,
      stepSinceMs,
      paused,
      ...(holdBefore !== undefined && { holdBefore }),
      compromised,
      isRollback,
      without,
      cutOff,
      history,
      fromSha256: sha256OfRoot(from.root),
      ...(to !== undefined && { toSha256: sha256OfRoot(to.root) }),
      waitingFor: waiting.slice(0, MAX_SHOWN),
      waitingCount: waiting.length,
      ...(this.#lastError !== undefined && { lastError: this.#lastError }),
    };
  }

  #clusterTrust(member: Member, state: TrustRootState, participants: readonly Participant[]): ClusterTrust {
    const rotation = openRotation(state);
    const facts = rotation && { ...this.#facts(state, rotation), participants };
    const lacking = rotation && facts && Object.keys(rotation.required).length > 0 ? behind(rotation, facts, 'prove').length : participants.length;
    const heard = participants.filter((p) => p.heardAtMs !== undefined);
    const onOld = rotation && facts ? behind(rotation, { ...facts, participants: heard }, 'prove-unused').length : 0;
    return {
      cluster: member.cluster,
      isConnected: this.members.isConnected(member.trustDomain),
      heardAtMs: this.members.heardAtMs(member.trustDomain),
      processes: participants.length,
      acknowledged: rotation === undefined ? heard.length : participants.length - lacking,
      onOldRoot: onOld,
      unheard: participants.length - heard.length,
    };
  }
}

function keyFileOf(rotation: Rotation): string {
  return `root-${rotation.id}.key`;
}

/** The key that nothing hangs on any more, once a rotation is over. */
function goneKeyOf(state: TrustRootState): string | undefined {
  const { rotation } = state;
  if (rotation?.step !== 'done') return undefined;
  const keyFile = rotation.to === undefined ? keyFileOf(rotation) : rotation.from.keyFile;
  return keyFile === signingRoot(state).keyFile ? undefined : keyFile;
}

/** Reads a command as it came over the wire. **Throws** IDENTITY_ROTATION_REFUSED. */
export function readRotateCommand(request: trust.RotateRequest): RotateCommand {
  const { action, without, compromised, holdBefore } = request;
  const step = ROTATION_STEPS.find((s) => s === holdBefore);
  const known = (['begin', 'pause', 'resume', 'rollback', 'without'] as const).find((a) => a === action);
  if (known === undefined || (holdBefore !== '' && step === undefined)) throw fail('IDENTITY_ROTATION_REFUSED', `${quote(known === undefined ? action : holdBefore)} is no ${known === undefined ? 'action' : 'step'}`);
  return { action: known, without, compromised, holdBefore: step };
}
