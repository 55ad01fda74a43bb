// Bundles and members between their protobuf form and the words of the model; what comes in is checked.
import { type Bundle, formatProblems, type Member, parseBundle, type Parsed, parseMember, refused } from '@isthmus/model';
import type { trust } from '@isthmus/rpc';

/** A bundle as it goes over the wire: DER instead of base64. */
export function bundleToWire(bundle: Bundle): trust.Bundle {
  return {
    trustDomain: bundle.trustDomain,
    sequence: BigInt(bundle.sequence),
    refreshHintSeconds: bundle.refreshHintSeconds,
    x509Authorities: bundle.x509Authorities.map((der) => Buffer.from(der, 'base64')),
    jwtAuthorities: (bundle.jwtAuthorities ?? []).map(({ keyId, publicKey }) => ({ keyId, publicKey: Buffer.from(publicKey, 'base64') })),
  };
}

/** Reads a bundle from the wire, or says what is wrong with it. */
export function bundleFromWire(wire: trust.Bundle): Parsed<Bundle> {
  if (wire.sequence > BigInt(Number.MAX_SAFE_INTEGER)) return refused('sequence', 'is too large');
  return parseBundle({
    trustDomain: wire.trustDomain,
    sequence: Number(wire.sequence),
    refreshHintSeconds: wire.refreshHintSeconds,
    x509Authorities: wire.x509Authorities.map((der) => Buffer.from(der).toString('base64')),
    ...(wire.jwtAuthorities.length === 0
      ? {}
      : { jwtAuthorities: wire.jwtAuthorities.map(({ keyId, publicKey }) => ({ keyId, publicKey: Buffer.from(publicKey).toString('base64') })) }),
  });
}

export function memberToWire(member: Member): trust.Member {
  return { cluster: member.cluster, trustDomain: member.trustDomain, locality: member.locality, gateways: [...member.gateways] };
}

/** Reads a member from the wire, or says what is wrong with it. */
export function memberFromWire(wire: trust.Member): Parsed<Member> {
  return parseMember({ cluster: wire.cluster, trustDomain: wire.trustDomain, locality: wire.locality, gateways: wire.gateways });
}

/** Every readable one of a list from the wire; what does not parse is left out and told. */
export function readable<W, T>(list: readonly W[], read: (wire: W) => Parsed<T>, onRefused: (problems: string) => void): T[] {
  return list.flatMap((wire) => {
    const result = read(wire);
    if (result.ok) return [result.value];
    onRefused(formatProblems(result.problems));
    return [];
  });
}
