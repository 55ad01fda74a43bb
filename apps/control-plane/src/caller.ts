// Which member cluster a caller of the read-only door speaks for: only a member's own control plane does.
import { type Member, roleOf, type SpiffeId, trustDomainOf } from '@isthmus/model';

/** The cluster whose control plane this is, or undefined: an agent, a gateway, or a cluster that is no member. */
export function callingCluster(caller: SpiffeId, members: readonly Member[]): { readonly cluster: string } | undefined {
  if (roleOf(caller).kind !== 'control-plane') return undefined;
  const trustDomain = trustDomainOf(caller);
  const member = members.find((m) => m.trustDomain === trustDomain);
  return member && { cluster: member.cluster };
}
