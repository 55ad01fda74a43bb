// An export: a service this cluster offers to named consumers. What is not exported does not exist for other clusters.
import { compileSchema, schemas, type Static, strict, Type } from '../schema.ts';

export const exportSchema = strict({
  kind: Type.Literal('export'),
  namespace: schemas.dnsLabel,
  /** The name of the exported service. */
  name: schemas.dnsLabel,
  /** `all`, or the clusters that may learn of the service; nobody else even sees its name. */
  consumers: Type.Union([Type.Literal('all'), Type.Array(schemas.dnsLabel, { minItems: 1, maxItems: 512 })]),
});
export type Export = Static<typeof exportSchema>;

export const parseExport = compileSchema(exportSchema);
