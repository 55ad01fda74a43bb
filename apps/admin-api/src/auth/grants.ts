// Who may do what: grants of roles in clusters and namespaces, and the one decision every request passes.
import { type ApiRole, fail } from '@isthmus/api';
import type { IsthmusError } from '@isthmus/model';
import type { GrantConfig } from '../config.ts';

export type Grant = { readonly who: string; readonly role: ApiRole; readonly clusters: 'all' | readonly string[]; readonly namespaces: 'all' | readonly string[] };

/**
 * Who asks. `ceiling`: the most a request may do that another cluster's admin API forwarded; `forwardedBy` is that one.
 * `issuer`, `claims` and `grants`: of a bearer token, who issued it, what it says, and what that is good for here.
 */
export type Caller = {
  readonly id: string;
  readonly forwardedBy?: string;
  readonly ceiling?: readonly ApiRole[];
  readonly issuer?: string;
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly grants?: readonly Grant[];
};

/** What is asked for; `namespace` undefined: what lies in none, or a list over all of them. */
export type Access = { readonly roles: readonly ApiRole[]; readonly scope: 'namespace' | 'cluster' | 'federation' | 'any'; readonly cluster: string; readonly namespace?: string | undefined };

/** Namespaces a list may show. */
export type Decision = { readonly ok: true; readonly namespaces: 'all' | ReadonlySet<string> } | { readonly ok: false; readonly error: IsthmusError };

export function toGrants(config: readonly GrantConfig[]): readonly Grant[] {
  return config.map(({ who, role, clusters = 'all', namespaces = 'all' }) => ({ who, role, clusters, namespaces }));
}

/** The caller's own grants, under its ceiling. */
export function grantsOf(grants: readonly Grant[], caller: Caller): readonly Grant[] {
  return [...grants.filter((grant) => grant.who === caller.id), ...(caller.grants ?? [])].filter((grant) => caller.ceiling === undefined || caller.ceiling.includes(grant.role));
}

/** May this caller? A route without roles is open to everybody who proved who they are. */
export function decide(grants: readonly Grant[], caller: Caller, access: Access): Decision {
  if (access.roles.length === 0) return { ok: true, namespaces: 'all' };
  const withRole = grantsOf(grants, caller).filter((grant) => access.roles.includes(grant.role));
  if (withRole.length === 0) return refused(caller, `has none of the roles ${access.roles.join(', ')}`);
  if (access.scope === 'any') return { ok: true, namespaces: 'all' };
  if (access.scope === 'federation') {
    if (withRole.some((grant) => grant.clusters === 'all' && grant.namespaces === 'all')) return { ok: true, namespaces: 'all' };
    return refused(caller, 'has its roles in some clusters or namespaces only, and this is the whole federation’s');
  }
  const inCluster = withRole.filter((grant) => grant.clusters === 'all' || grant.clusters.includes(access.cluster));
  if (inCluster.length === 0) return refused(caller, `has no such role in cluster ${access.cluster}`);
  if (inCluster.some((grant) => grant.namespaces === 'all')) return { ok: true, namespaces: 'all' };
  if (access.scope === 'cluster') return refused(caller, `has its roles in some namespaces only, and this lies in none`);
  const namespaces = new Set(inCluster.flatMap((grant) => (grant.namespaces === 'all' ? [] : grant.namespaces)));
  if (access.namespace !== undefined && !namespaces.has(access.namespace)) return refused(caller, `has no such role in namespace ${access.namespace}`);
  return { ok: true, namespaces };
}

function refused(caller: Caller, why: string): Decision {
  return { ok: false, error: fail('API_DENIED', `${caller.id} ${why}`, { hint: 'grants are in the configuration of the admin API of the cluster that owns this' }) };
}
