// How an authority begins: from the intermediate on disk while that is valid, else by its bootstrap token.
import { X509Certificate } from 'node:crypto';
import { clusterTrustDomain, type Member, type TrustDomain } from '@isthmus/model';
import type { trust } from '@isthmus/rpc';
import type { Clock, Random } from '@isthmus/runtime';
import type { Log, Metrics } from '@isthmus/telemetry';
import { fail } from '../errors.ts';
import type { KeyStore, LocalKey } from '../key-store.ts';
import type { StateOf } from '../state.ts';
import { untilReachable } from '../until-reachable.ts';
import { joinParent, parentAt, readBootstrapToken } from './parent.ts';
import { checkSlot, makeSlot, type Slot } from './slot.ts';
import { nextSlotKey, storedSlotKey } from './slot-key.ts';
import type { SlotState } from './state.ts';

export type AuthorityOptions = {
  /** Directory of the authority's key and state, mode 0700. */
  readonly stateDir: string;
  readonly cluster: string;
  readonly federation: TrustDomain;
  /** Where the trust root is, `host:port`; `serverName` is its SNI, default `trust-root.isthmus.<federation>`. */
  readonly trustRoot: { readonly address: string; readonly serverName?: string | undefined };
  /** The bootstrap token; used where there is no usable state. */
  readonly token?: string | undefined;
  /** What the trust root tells other members of this cluster. */
  readonly self: Omit<Member, 'cluster' | 'trustDomain'>;
  /** Where the keys of the intermediate and of JWT-SVIDs are; keys of this process, as they sign for everybody. Default: plain files of mode 0600 in `stateDir`. */
  readonly keys?: KeyStore<LocalKey> | undefined;
  /** Life of the SVIDs signed here. Default 1 h; never longer than the intermediate's rest. */
  readonly svidTtlMs?: number | undefined;
  /** How long a first start waits for a trust root that does not answer. Default 60 s. */
  readonly joinTimeoutMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics?: Metrics;
};

/** **Throws** IDENTITY_NO_IDENTITY, IDENTITY_TOKEN_REFUSED, IDENTITY_STATE_MISMATCH, RPC_*, STATE_*. */
export async function startOf(slots: StateOf<SlotState>, options: KeptOptions): Promise<Start> {
  const stored = await slots.read();
  return (await resumed(stored, options)) ?? (await joined(stored, slots, options));
}

/** With the key store that is used where none was given. */
export type KeptOptions = AuthorityOptions & { readonly keys: KeyStore<LocalKey> };

export type Start = { readonly slot: Slot; readonly tokenId: string; readonly view?: trust.FederationView };

async function resumed(stored: SlotState | undefined, options: KeptOptions): Promise<Start | undefined> {
  if (stored === undefined) return undefined;
  if (stored.cluster !== options.cluster || stored.federation !== options.federation) {
    throw fail('IDENTITY_STATE_MISMATCH', `${options.stateDir} is cluster ${stored.cluster} of ${stored.federation}, not ${options.cluster} of ${options.federation}`, {
      hint: 'correct `cluster`, `federation` or `stateDir` in the configuration',
    });
  }
  const trustDomain = clusterTrustDomain(stored.cluster, stored.federation);
  const expiresAtMs = Date.parse(new X509Certificate(Buffer.from(stored.intermediate, 'base64')).validTo);
  if (expiresAtMs <= options.clock.nowMs()) return undefined;
  const slot = makeSlot(trustDomain, await storedSlotKey(options.keys, stored), [stored.intermediate, ...(stored.links ?? []), stored.root].map((der) => Buffer.from(der, 'base64')));
  checkSlot(slot, options.clock.nowMs());
  return { slot, tokenId: stored.tokenId };
}

async function joined(stored: SlotState | undefined, slots: StateOf<SlotState>, options: KeptOptions): Promise<Start> {
  const { cluster, federation, token, clock, random, log, keys } = options;
  const why = stored === undefined ? 'there is no intermediate' : 'the stored intermediate has expired';
  if (token === undefined) {
    throw fail('IDENTITY_NO_IDENTITY', `cluster ${cluster} has no identity: ${why} in ${options.stateDir}, and no bootstrap token is configured`, {
      hint: stored === undefined ? 'make a cluster token at the trust root' : 'make a cluster token with replace at the trust root',
    });
  }
  const read = readBootstrapToken(token, cluster, federation);
  if (stored?.tokenId === read.id) {
    throw fail('IDENTITY_NO_IDENTITY', `cluster ${cluster} has no identity: ${why}, and the configured bootstrap token is spent`, {
      hint: 'make a cluster token with replace at the trust root',
    });
  }
  await slots.checkWritable();
  const parent = parentAt(options.trustRoot, federation);
  const limitMs = options.joinTimeoutMs ?? 60_000;
  const key = await nextSlotKey(keys, stored?.keyName, log);
  const answer = await untilReachable({ clock, random, log, limitMs, what: 'the trust root' }, () =>
    joinParent(parent, token, read.pinSha256, selfOf(options), key, log),
  );
  checkSlot(answer.slot, clock.nowMs());
  await slots.write(toState(options, answer.slot, read.id));
  log.info('joined the federation', { cluster, federation, tokenId: read.id, expiresAtMs: answer.slot.expiresAtMs });
  return { slot: answer.slot, tokenId: read.id, view: answer.view };
}

/** This cluster as it tells the trust root of itself. */
export function selfOf(options: AuthorityOptions): Member {
  const { cluster, federation, self } = options;
  return { cluster, trustDomain: clusterTrustDomain(cluster, federation), locality: self.locality, gateways: self.gateways };
}

export function toState(options: AuthorityOptions, slot: Slot, tokenId: string): SlotState {
  return {
    version: 1,
    cluster: options.cluster,
    federation: options.federation,
    root: slot.root.toString('base64'),
    ...(slot.links.length > 0 && { links: slot.links.map((der) => der.toString('base64')) }),
    tokenId,
    ...(slot.keyName !== undefined && { keyName: slot.keyName }),
    intermediate: slot.intermediate.toString('base64'),
  };
}
