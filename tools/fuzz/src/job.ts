// What the watching thread and the running thread say to each other.

/** Given to a worker at its start. */
export type Job = {
  readonly root: string;
  /** The target's file, relative to the root. */
  readonly file: string;
  readonly seed: number;
  readonly inputs: number;
  readonly seconds?: number;
  /** `scout`: slowly, under coverage; `fuzz`: at full speed, from what a scout found; `once`: `input` and nothing else. */
  readonly phase: 'scout' | 'fuzz' | 'once';
  readonly found: readonly Uint8Array[];
  readonly input: Uint8Array;
  /** Inputs begun (int32), length of the one that runs (int32), its bytes. */
  readonly shared: SharedArrayBuffer;
};

/** `threw`: a promise is broken. `hang`: one input ran too long. `died`: the thread ended, out of memory mostly. `memory`: it grows from input to input. */
export type FindingReason = 'threw' | 'hang' | 'died' | 'memory';

export type WorkerMessage =
  | { readonly kind: 'ready'; readonly name: string }
  | { readonly kind: 'invalid'; readonly detail: string }
  | { readonly kind: 'finding'; readonly reason: FindingReason; readonly detail: string; readonly input?: Uint8Array; readonly kept?: string }
  | { readonly kind: 'done'; readonly inputs: number; readonly found: readonly Uint8Array[]; readonly coveredChars: number };
