// What one process of the federation says of its own trust: which bundles it holds, and which roots its SVIDs hang on.

/** The SVIDs a process holds that hang on one root. */
export type LiveRoot = {
  /** SHA-256 of the root certificate's DER, in hex. */
  readonly rootSha256: string;
  /** When the last of them runs out. */
  readonly expiresAtMs: number;
};

/** Told by each proxy and control plane; only what was told counts, silence never does. */
export type TrustFacts = {
  /** By trust domain: the sequence of the bundle that is in force and, where the process keeps state, on disk. */
  readonly held: Readonly<Record<string, number>>;
  /** One entry a root. */
  readonly live: readonly LiveRoot[];
};

/** What a control plane tells its proxies of roots that are on their way out. */
export type RenewHint = {
  /** Roots whose SVIDs are to be renewed now; SHA-256 in hex. */
  readonly retiring: readonly string[];
  /** Roots that are compromised and gone: connections that stand on them are to be closed. */
  readonly revoked: readonly string[];
  /** Renewals are spread over this time, so that an authority is not asked by all at once. */
  readonly spreadMs: number;
};
