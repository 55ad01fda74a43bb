// What every process of every member told of its trust, as the trust root last heard it; in memory only, since it is told again.
import { type LiveRoot, type Member } from '@isthmus/model';
import type { trust } from '@isthmus/rpc';
import { fail } from '../errors.ts';
import type { Participant } from './root-rotation.ts';

const MAX_PARTICIPANTS = 20_000;
const MAX_SETS = 1_000;
const MAX_BUNDLES = 4_096;
const MAX_LIVE = 16;
const NAME = /^(control-plane|(gateway|agent)\/([a-z0-9-]{1,63}))$/;

type Told = { readonly participants: readonly Participant[]; readonly atMs: number };

/** The reports of members, each replacing the one before. */
export class MembersTrust {
  readonly #told = new Map<string, Told>();
  readonly #connected = new Map<string, number>();

  /** Takes a whole report of one member. **Throws** IDENTITY_REPORT_REFUSED for one that is too large or does not hold together. */
  take(member: Member, report: trust.TrustReport, nowMs: number): void {
    const sets = report.held.slice(0, MAX_SETS).map(heldOf);
    if (report.participants.length > MAX_PARTICIPANTS) throw fail('IDENTITY_REPORT_REFUSED', `a report of ${report.participants.length} processes`);
    const participants = report.participants.map((p) => read(member.cluster, p, sets));
    if (!participants.some((p) => p.kind === 'control-plane')) throw fail('IDENTITY_REPORT_REFUSED', 'a report without the control plane itself');
    if (new Set(participants.map((p) => p.name)).size !== participants.length) throw fail('IDENTITY_REPORT_REFUSED', 'a process stands twice in one report');
    this.#told.set(member.trustDomain, { participants, atMs: nowMs });
  }

  /** Notes a stream of a member opening (+1) or closing (-1). */
  stream(trustDomain: string, change: 1 | -1): void {
    this.#connected.set(trustDomain, (this.#connected.get(trustDomain) ?? 0) + change);
  }

  isConnected(trustDomain: string): boolean {
    return (this.#connected.get(trustDomain) ?? 0) > 0;
  }

  heardAtMs(trustDomain: string): number | undefined {
    return this.#told.get(trustDomain)?.atMs;
  }

  /** Everybody of these members. One that never reported stands there by its control plane, never heard. */
  participants(members: readonly Member[]): readonly Participant[] {
    return members.flatMap(({ cluster, trustDomain }) => {
      const told = this.#told.get(trustDomain);
      const isConnected = this.isConnected(trustDomain);
      if (told === undefined) return [{ name: `${cluster}/control-plane`, cluster, kind: 'control-plane' as const, isConnected, heardAtMs: undefined, held: {}, live: [] }];
      return told.participants.map((p) => ({
        ...p,
        isConnected: isConnected && p.isConnected,
        ...(p.kind === 'control-plane' && { heardAtMs: told.atMs }),
      }));
    });
  }
}

function heldOf(set: trust.HeldBundles): Readonly<Record<string, number>> {
  return Object.fromEntries(set.bundles.slice(0, MAX_BUNDLES).map((b) => [b.trustDomain, Number(b.sequence)]));
}

function read(cluster: string, wire: trust.Participant, sets: readonly Readonly<Record<string, number>>[]): Participant {
  const parts = NAME.exec(wire.name);
  if (parts === null) throw fail('IDENTITY_REPORT_REFUSED', 'a report names a process that can be none');
  const live: LiveRoot[] = wire.live.slice(0, MAX_LIVE).map((l) => ({ rootSha256: Buffer.from(l.rootSha256).toString('hex'), expiresAtMs: Number(l.expiresAtMs) }));
  return {
    name: `${cluster}/${wire.name}`,
    cluster,
    kind: (parts[2] as 'gateway' | 'agent' | undefined) ?? 'control-plane',
    isConnected: wire.connected,
    heardAtMs: wire.heardAtMs === 0n ? undefined : Number(wire.heardAtMs),
    held: sets[wire.held - 1] ?? {},
    live,
  };
}
