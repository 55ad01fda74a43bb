// Which cluster a thing lies in: its own attribute, or the provider's cluster; and the ID by which both name it.
import { parseClusterName, type Problem } from '@isthmus/model';
import type { Api } from '../connection/api.ts';
import { fail } from '../errors.ts';
import { type Attribute, STRING } from '../protocol/attribute.ts';
import { textAt, UNKNOWN_NOT_NULL, type ValueObject } from '../protocol/value.ts';

export const CLUSTER: Attribute = { type: STRING, mode: 'optional-computed', description: 'Name of the cluster it lies in; the provider’s `cluster` without it.', replaces: true };
/** The same, of what is only read. */
export const READ_CLUSTER: Attribute = { type: STRING, mode: 'optional-computed', description: 'Name of the cluster that is asked; the provider’s `cluster` without it.' };
export const ID: Attribute = { type: STRING, mode: 'computed', description: 'Its name as `terraform import` takes it.' };

export function clusterProblems(config: ValueObject, name = 'cluster'): readonly Problem[] {
  const cluster = textAt(config, name);
  if (cluster === undefined) return [];
  const parsed = parseClusterName(cluster, name);
  return parsed.ok ? [] : parsed.problems;
}

/** The plan with the provider's cluster where none is named; a provider of another cluster makes the thing anew there. */
export function withCluster(api: Api | undefined, config: ValueObject, proposed: ValueObject): { readonly state: ValueObject; readonly problems: readonly Problem[] } {
  if (config['cluster'] !== null && config['cluster'] !== undefined) return { state: proposed, problems: [] };
  if (api === undefined) return { state: { ...proposed, cluster: UNKNOWN_NOT_NULL }, problems: [] };
  if (api.cluster === undefined) return { state: proposed, problems: [{ path: 'cluster', message: 'is needed, since the provider block names no cluster either' }] };
  return { state: { ...proposed, cluster: api.cluster }, problems: [] };
}

/** The cluster of a state or of a data source's configuration. **Throws** TERRAFORM_NOT_CONFIGURED where nobody names one. */
export function clusterOf(api: Api, state: ValueObject): string {
  const cluster = textAt(state, 'cluster') ?? api.cluster;
  if (cluster === undefined) throw fail('TERRAFORM_NOT_CONFIGURED', 'cluster: is needed, since the provider block names no cluster either');
  return cluster;
}

/** The parts of an import ID; the cluster may be left out. **Throws** TERRAFORM_ID_INVALID. */
export function importParts(id: string, names: readonly string[], api: Api): ValueObject {
  const parts = id.split('/');
  const given = parts.length === names.length ? [api.cluster ?? '', ...parts] : parts;
  if (given.length !== names.length + 1 || given.includes('')) {
    throw fail('TERRAFORM_ID_INVALID', `${JSON.stringify(id)} is no ID of this; it is cluster/${names.join('/')}`, { hint: 'the cluster may be left out where the provider block names one' });
  }
  return Object.fromEntries(['cluster', ...names].map((name, i) => [name, given[i] ?? '']));
}
