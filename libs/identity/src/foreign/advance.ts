// Whether what was heard of a foreign trust domain takes the place of the last good bundle. Pure; nothing ever goes back.
import { type Bundle, bundleSchema, compileSchema, type Static, Type } from '@isthmus/model';
import { type BundleDocument, hasSameKeys } from '@isthmus/pki';

/** The last good bundle of a foreign trust domain, as the store keeps it. */
export const lastGoodSchema = Type.Object({
  version: Type.Literal(1),
  bundle: bundleSchema,
  /** Its documents bear a sequence; once they do, one without is refused. Where they do not, `bundle.sequence` is counted here. */
  isNumbered: Type.Boolean(),
  from: Type.Union([Type.Literal('endpoint'), Type.Literal('import')]),
  takenAtMs: Type.Integer({ minimum: 0 }),
  /** When its source last said this was the bundle. */
  confirmedAtMs: Type.Integer({ minimum: 0 }),
});
export type LastGood = Static<typeof lastGoodSchema>;
export const parseLastGood = compileSchema(lastGoodSchema);

/** Why a document that parses is not taken. */
export type AdvanceRefusal = 'older' | 'altered' | 'sequence-missing' | 'empty';

export type Advance =
  | { readonly kind: 'take'; readonly bundle: Bundle; readonly isNumbered: boolean }
  | { readonly kind: 'same' }
  | { readonly kind: 'refuse'; readonly reason: AdvanceRefusal; readonly detail: string };

/**
 * Decides over a document that parses and came from where it should (reliability 47). Taken is one of a higher sequence,
 * also one without keys: so a trust domain revokes everything. Where documents bear no sequence, another content is
 * newer; but an empty one is then refused, as nothing tells it from a fault.
 * **Source** SPIFFE Trust Domain and Bundle §4.1.1: a sequence grows with every change of the content.
 */
export function advance(lastGood: LastGood | undefined, { sequence, bundle }: BundleDocument): Advance {
  const isEmpty = bundle.x509Authorities.length === 0 && (bundle.jwtAuthorities ?? []).length === 0;
  if (sequence === undefined && isEmpty) return { kind: 'refuse', reason: 'empty', detail: 'it holds no keys and bears no sequence' };
  if (lastGood === undefined) return { kind: 'take', bundle, isNumbered: sequence !== undefined };
  const { bundle: known } = lastGood;
  if (sequence === undefined) {
    if (lastGood.isNumbered) return { kind: 'refuse', reason: 'sequence-missing', detail: `it bears no sequence, the last good one had ${known.sequence}` };
    return hasSameKeys(known, bundle) ? { kind: 'same' } : { kind: 'take', bundle: { ...bundle, sequence: known.sequence + 1 }, isNumbered: false };
  }
  if (sequence < known.sequence) return { kind: 'refuse', reason: 'older', detail: `its sequence is ${sequence}, the last good one has ${known.sequence}` };
  if (sequence > known.sequence) return { kind: 'take', bundle, isNumbered: true };
  if (hasSameKeys(known, bundle)) return { kind: 'same' };
  return { kind: 'refuse', reason: 'altered', detail: `its keys are others than those of the same sequence ${sequence} before` };
}
