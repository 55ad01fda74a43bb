// Replacing the federation's root as one resumable operation: what the record says, what is waited for, what comes next. Pure.
import type { LiveRoot, Static } from '@isthmus/model';
import { Type } from '@isthmus/model';

/**
 * prepare → distribute → prove → switch → reissue → prove-unused → retire → done. The step of a record is the one that
 * is to be done or waited for; an action and the move to the next step are one commit, so that a process killed between
 * two of them does the action again, and each action does nothing where it was done.
 */
export const ROTATION_STEPS = ['prepare', 'distribute', 'prove', 'switch', 'reissue', 'prove-unused', 'retire', 'done'] as const;
export type RotationStep = (typeof ROTATION_STEPS)[number];

const stepSchema = Type.Union([
  Type.Literal('prepare'),
  Type.Literal('distribute'),
  Type.Literal('prove'),
  Type.Literal('switch'),
  Type.Literal('reissue'),
  Type.Literal('prove-unused'),
  Type.Literal('retire'),
  Type.Literal('done'),
]);
/** Where a root's key is, if not in a file of the state directory. */
export const keyPlaceSchema = Type.Union([Type.Literal('pkcs11'), Type.Literal('program')]);
const rootRefSchema = Type.Object({
  /** DER in base64. */
  root: Type.String(),
  /** Name of its key: of a file in the state directory, or as `keyIn` knows it. */
  keyFile: Type.String({ pattern: '^root[a-z0-9-]*\\.key$' }),
  keyIn: Type.Optional(keyPlaceSchema),
});
export type RootRef = Static<typeof rootRefSchema>;

/** The rotation under way, or the last one; part of the trust root's state. */
export const rotationSchema = Type.Object({
  id: Type.String({ pattern: '^[a-z0-9-]{1,64}$' }),
  startedAtMs: Type.Integer(),
  step: stepSchema,
  stepSinceMs: Type.Integer(),
  paused: Type.Boolean(),
  /** The step it stops before, until it is resumed. */
  holdBefore: Type.Optional(stepSchema),
  compromised: Type.Boolean(),
  /** The roles of the two roots were exchanged: `from` is the newer one. */
  isRollback: Type.Boolean(),
  from: rootRefSchema,
  /** Undefined until it is made. */
  to: Type.Optional(rootRefSchema),
  /** The newer root's key certified by the older one, DER in base64: what holders of older tokens know the newer by. */
  link: Type.Optional(Type.String()),
  /** Sequences of the bundles that first held both roots, by trust domain. */
  required: Type.Record(Type.String(), Type.Integer()),
  /** Who is not waited for, each by name. */
  without: Type.Array(Type.String({ maxLength: 200 }), { maxItems: 10_000 }),
  /** Who had not followed when the old root went. */
  cutOff: Type.Array(Type.String(), { maxItems: 10_000 }),
  history: Type.Array(Type.Object({ step: stepSchema, atMs: Type.Integer() }), { maxItems: 64 }),
});
export type Rotation = Static<typeof rotationSchema>;

/** One process that must follow: `<cluster>/control-plane`, `<cluster>/gateway/<name>` or `<cluster>/agent/<name>`. */
export type Participant = {
  readonly name: string;
  readonly cluster: string;
  readonly kind: 'control-plane' | 'gateway' | 'agent';
  readonly isConnected: boolean;
  /** When it last told something; undefined where it never did. */
  readonly heardAtMs: number | undefined;
  readonly held: Readonly<Record<string, number>>;
  readonly live: readonly LiveRoot[];
};

/** Someone a step waits for, and why. */
export type Waiting = { readonly name: string; readonly cluster: string; readonly why: string };

export type RotationFacts = {
  readonly participants: readonly Participant[];
  /** Trust domains that have a bundle now: one that left is not asked after. */
  readonly trustDomains: ReadonlySet<string>;
  readonly fromSha256: string;
  readonly nowMs: number;
};

/** What to do now. `make-root`, `distribute`, `switch` and `retire` change the state; `go` only moves on. */
export type RotationTurn =
  | { readonly kind: 'idle' }
  | { readonly kind: 'wait'; readonly waitingFor: readonly Waiting[]; readonly recheckMs?: number }
  | { readonly kind: 'do'; readonly action: 'make-root' | 'distribute' | 'go' | 'switch' | 'retire'; readonly next: RotationStep; readonly leftBehind: readonly string[] };

/** How long those who can still be reached get to renew before a compromised root is revoked. */
export const COMPROMISED_LIMIT_MS = 10_000;

/** The record of a rotation that has done nothing yet. */
export function beginRotation(request: {
  readonly id: string;
  readonly nowMs: number;
  readonly from: RootRef;
  readonly compromised: boolean;
  readonly without: readonly string[];
  readonly holdBefore?: RotationStep | undefined;
}): Rotation {
  const { id, nowMs, from, compromised, without, holdBefore } = request;
  return {
    id,
    startedAtMs: nowMs,
    step: 'prepare',
    stepSinceMs: nowMs,
    paused: false,
    ...(holdBefore !== undefined && { holdBefore }),
    compromised,
    isRollback: false,
    from,
    required: {},
    without: [...without],
    cutOff: [],
    history: [{ step: 'prepare', atMs: nowMs }],
  };
}

/** The one decision: given the record and what is known of everybody, what is done next, or who is waited for. */
export function nextTurn(rotation: Rotation, facts: RotationFacts): RotationTurn {
  if (rotation.step === 'done') return { kind: 'idle' };
  if (rotation.paused || rotation.step === rotation.holdBefore) return { kind: 'wait', waitingFor: waitingFor(rotation, facts) };
  const act = (action: Extract<RotationTurn, { kind: 'do' }>['action'], next: RotationStep): RotationTurn => ({ kind: 'do', action, next, leftBehind: [] });
  switch (rotation.step) {
    case 'prepare':
      return act('make-root', 'distribute');
    case 'distribute':
      return act('distribute', 'prove');
    case 'prove':
      return rotation.compromised ? act('go', 'switch') : onceNobodyIsAwaited(rotation, facts, 'go', 'switch');
    case 'switch':
      return act('switch', 'reissue');
    case 'reissue':
      return onceNobodyIsAwaited(rotation, facts, 'go', 'prove-unused');
    case 'prove-unused':
      return onceNobodyIsAwaited(rotation, facts, 'go', 'retire');
    case 'retire':
      // Everybody else was proven a step ago; that they are unheard since a restart takes nothing back.
      return { kind: 'do', action: 'retire', next: 'done', leftBehind: behind(rotation, facts, 'prove-unused').flatMap((w) => (rotation.without.includes(w.name) ? [w.name] : [])) };
  }
}

function onceNobodyIsAwaited(rotation: Rotation, facts: RotationFacts, action: 'go', next: RotationStep): RotationTurn {
  const waiting = waitingFor(rotation, facts);
  if (waiting.length === 0) return { kind: 'do', action, next, leftBehind: [] };
  const sinceSwitchMs = facts.nowMs - sinceSwitch(rotation);
  if (rotation.compromised && sinceSwitchMs >= COMPROMISED_LIMIT_MS) return { kind: 'do', action, next, leftBehind: waiting.map((w) => w.name) };
  return { kind: 'wait', waitingFor: waiting, ...(rotation.compromised && { recheckMs: COMPROMISED_LIMIT_MS - sinceSwitchMs }) };
}

function sinceSwitch(rotation: Rotation): number {
  return rotation.history.findLast((h) => h.step === 'reissue')?.atMs ?? rotation.stepSinceMs;
}

/** Who the step of this record waits for, those excused by name left out. */
export function waitingFor(rotation: Rotation, facts: RotationFacts): readonly Waiting[] {
  const excused = new Set(rotation.without);
  return behind(rotation, facts, rotation.step).filter((w) => !excused.has(w.name));
}

/** Everybody who has not done what `step` asks, the excused among them. */
export function behind(rotation: Rotation, facts: RotationFacts, step: RotationStep): readonly Waiting[] {
  return facts.participants.flatMap((p) => {
    const why = lackOf(p, rotation, facts, step);
    return why === undefined ? [] : [{ name: p.name, cluster: p.cluster, why }];
  });
}

/** What a participant lacks for a step; undefined when nothing. */
function lackOf(p: Participant, rotation: Rotation, facts: RotationFacts, step: RotationStep): string | undefined {
  switch (step) {
    case 'prove':
      return lackOfTrust(p, rotation, facts);
    case 'reissue':
      return p.kind === 'control-plane' ? lackOfRenewal(p, facts) : undefined;
    case 'prove-unused':
      return lackOfRenewal(p, facts);
    default:
      return undefined;
  }
}

function lackOfTrust(p: Participant, rotation: Rotation, facts: RotationFacts): string | undefined {
  if (p.heardAtMs === undefined) return 'was never heard';
  const lacking = Object.entries(rotation.required).filter(([td, sequence]) => facts.trustDomains.has(td) && (p.held[td] ?? -1) < sequence);
  if (lacking.length === 0) return undefined;
  return `${silence(p)}has not acknowledged the new root for ${lacking.map(([td]) => td).slice(0, 3).join(', ')}${lacking.length > 3 ? ', …' : ''}`;
}

function lackOfRenewal(p: Participant, facts: RotationFacts): string | undefined {
  if (p.heardAtMs === undefined) return 'was never heard';
  const old = p.live.find((l) => l.rootSha256 === facts.fromSha256 && l.expiresAtMs > facts.nowMs);
  return old === undefined ? undefined : `${silence(p)}holds a certificate of the old root until ${new Date(old.expiresAtMs).toISOString()}`;
}

function silence(p: Participant): string {
  return p.isConnected || p.heardAtMs === undefined ? '' : `silent since ${new Date(p.heardAtMs).toISOString()}, `;
}

/** The record one step on. */
export function moved(rotation: Rotation, step: RotationStep, nowMs: number): Rotation {
  return { ...rotation, step, stepSinceMs: nowMs, history: [...rotation.history, { step, atMs: nowMs }].slice(-64) };
}

/**
 * The record turned back, or why it cannot be. Before the switch nothing was signed by the newer root, so it is taken
 * out again; after it the same way is gone with the roots exchanged: both are trusted by all, so signing goes back,
 * everything is issued anew, and the newer root retires once nothing hangs on it.
 */
export function rolledBack(rotation: Rotation, nowMs: number): { readonly ok: true; readonly rotation: Rotation } | { readonly ok: false; readonly why: string } {
  if (rotation.step === 'done') return { ok: false, why: 'no rotation is under way' };
  if (rotation.isRollback) return { ok: false, why: 'it is being rolled back already' };
  if (rotation.compromised) return { ok: false, why: 'there is no way back to a compromised root' };
  const rest = withoutHold(rotation);
  if (rotation.to === undefined) return { ok: true, rotation: moved({ ...rest, isRollback: true, paused: false }, 'done', nowMs) };
  const turned: Rotation = { ...rest, isRollback: true, paused: false, from: rotation.to, to: rotation.from };
  return { ok: true, rotation: moved(turned, isSwitched(rotation) ? 'switch' : 'retire', nowMs) };
}

/** The record that stops before no step. */
export function withoutHold(rotation: Rotation): Rotation {
  const rest = { ...rotation };
  delete rest.holdBefore;
  return rest;
}

/** The rotation under way, now that its outgoing root is known to be compromised: nobody is waited for, and what that root vouches for is dropped. */
export function hurried(rotation: Rotation): Rotation {
  const rest = { ...withoutHold(rotation), compromised: true, paused: false };
  delete rest.link;
  return rest;
}

/** Whether the incoming root signs already. */
export function isSwitched(rotation: Rotation): boolean {
  return ROTATION_STEPS.indexOf(rotation.step) > ROTATION_STEPS.indexOf('switch');
}
