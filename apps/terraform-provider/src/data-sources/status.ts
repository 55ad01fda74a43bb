// `data.isthmus_status`: the federation on one page, for checks and outputs.
import type { Api } from '../connection/api.ts';
import { BOOL, listOf, NUMBER, objectOf, STRING } from '../protocol/attribute.ts';
import type { DataSourceDefinition } from '../protocol/definition.ts';
import type { ValueObject } from '../protocol/value.ts';

type Part = { readonly cluster: string; readonly source: string; readonly ageMs?: number; readonly status?: Readonly<Record<string, unknown>>; readonly problem?: { readonly code: string; readonly detail: string } };

export const status: DataSourceDefinition<Api> = {
  typeName: 'isthmus_status',
  description: 'The state of every cluster of the federation, as the admin API that is asked knows it.',
  example: `data "isthmus_status" "now" {}

check "federation" {
  assert {
    condition     = alltrue([for c in data.isthmus_status.now.clusters : c.reachable])
    error_message = "a cluster cannot be reached"
  }
}`,
  attributes: {
    asked: { type: STRING, mode: 'computed', description: 'Name of the cluster that answered.' },
    clusters: {
      type: listOf(
        objectOf({
          name: { type: STRING, mode: 'computed', description: 'Name of the cluster.' },
          source: { type: STRING, mode: 'computed', description: '`own`, `forwarded` (it answered itself) or `mirror` (what the cluster that was asked knows of it).' },
          reachable: { type: BOOL, mode: 'computed', description: 'Whether it answered.' },
          age_ms: { type: NUMBER, mode: 'computed', isNullable: true, description: 'How old a mirror’s knowledge is.' },
          problem: { type: STRING, mode: 'computed', isNullable: true, description: 'Why it did not answer.' },
          services: { type: NUMBER, mode: 'computed', isNullable: true, description: 'Services declared there; null where it did not answer.' },
          exports: { type: NUMBER, mode: 'computed', isNullable: true, description: 'Services offered by it.' },
          json: { type: STRING, mode: 'computed', description: 'All of its state as JSON, for `jsondecode`.' },
        }),
      ),
      mode: 'computed',
      description: 'Clusters by name.',
    },
  },
  validate: () => [],
  read: async (api, _config, { signal }) => {
    const { value } = await api.call<{ readonly cluster: string; readonly clusters: readonly Part[] }>('getFederationStatus', {}, signal);
    const clusters = value.clusters.toSorted((a, b) => (a.cluster < b.cluster ? -1 : 1)).map((part): ValueObject => ({
      name: part.cluster,
      source: part.source,
      reachable: part.problem === undefined,
      age_ms: part.ageMs ?? null,
      problem: part.problem === undefined ? null : `${part.problem.detail} (${part.problem.code})`,
      services: count(part.status?.['services']),
      exports: count(part.status?.['exports']),
      json: JSON.stringify(part.status ?? {}),
    }));
    return { state: { asked: value.cluster, clusters } };
  },
};

function count(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}
