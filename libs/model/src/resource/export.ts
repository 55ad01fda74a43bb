// An export: a service this cluster offers to named consumers. What is not exported does not exist for other clusters.
import type { Parsed } from '../problem.ts';
import { compileSchema, dnsLabel, schemas, type Static, strict, Type } from '../schema.ts';
import { foreignCallersProblems, foreignCallersSchema } from './federated-trust-domain.ts';

export const exportSchema = strict({
  kind: Type.Literal('export'),
  namespace: dnsLabel('Namespace of the exported service'),
  name: dnsLabel('Name of the exported service, which must be declared in the same cluster'),
  consumers: Type.Union([Type.Literal('all'), Type.Array(schemas.dnsLabel, { minItems: 1, maxItems: 512 })], { description: 'Clusters that may learn of the service; nobody else even sees its name' }),
  foreignCallers: Type.Optional(Type.Array(foreignCallersSchema, { maxItems: 64, description: 'Callers of foreign trust domains that may reach the service here; nobody of any other is let in' })),
  gateway: Type.Optional(
    Type.Object(
      {
        layer: Type.Union([Type.Literal(4), Type.Literal(7)], {
          description: '4, as without it: pass TLS on, so that the caller and the workload prove themselves to each other. 7: end TLS and carry each request by itself (ports of protocol `tcp` stay at 4)',
        }),
      },
      { additionalProperties: false, description: 'What this cluster’s gateways do for callers from elsewhere' },
    ),
  ),
});
export type Export = Static<typeof exportSchema>;

const parseShape = compileSchema(exportSchema);

/** Parses an export; a foreign caller that is no SPIFFE ID of its trust domain is refused by its path. */
export function parseExport(input: unknown): Parsed<Export> {
  const parsed = parseShape(input);
  if (!parsed.ok) return parsed;
  const problems = foreignCallersProblems(parsed.value.foreignCallers ?? [], 'foreignCallers');
  return problems.length > 0 ? { ok: false, problems } : parsed;
}
