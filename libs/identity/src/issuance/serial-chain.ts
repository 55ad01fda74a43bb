// Which SVIDs of one agent follow which: each renewal names the one it replaces, so two holders of one identity show. Pure.
import { compileSchema, type Static, Type } from '@isthmus/model';

const serial = Type.String({ pattern: '^[0-9A-Fa-f]{1,64}$' });

/** What is kept of one agent's SVIDs, by serial number. */
export const serialChainSchema = Type.Object({
  kind: Type.Literal('serial-chain'),
  /** The last one that was used to renew. */
  parent: Type.Optional(serial),
  /** Issued for the parent and not used yet; more than one where an answer was lost and asked for again. */
  successors: Type.Array(serial, { maxItems: 8 }),
  /** Times that an SVID came back whose successor had been used. */
  clones: Type.Optional(Type.Integer({ minimum: 0 })),
  clonedAtMs: Type.Optional(Type.Integer({ minimum: 0 })),
  /** Where the last such one came from. */
  clonedFrom: Type.Optional(Type.String({ maxLength: 64 })),
});
export type SerialChain = Static<typeof serialChainSchema>;
export const parseSerialChain = compileSchema(serialChainSchema);

const MAX_SUCCESSORS = 8;

/** The chain of an agent that was just admitted: whatever was issued to it before is over. */
export function beginChain(issued: string): SerialChain {
  return { kind: 'serial-chain', successors: [issued] };
}

export type Advanced = { readonly chain: SerialChain; readonly isClone: boolean };

/**
 * The chain after a renewal that presented one SVID and is to get another. A successor that is presented was received
 * and used: its siblings and its parent are over. The parent presented again is an answer that was lost, as long as no
 * successor was used. Anything else is a second holder: it went on from a serial that another had already renewed.
 */
export function advanceChain(chain: SerialChain | undefined, presented: string, issued: string, facts: { readonly nowMs: number; readonly address: string }): Advanced {
  if (chain === undefined) return { chain: { kind: 'serial-chain', parent: presented, successors: [issued] }, isClone: false };
  if (chain.successors.includes(presented)) return { chain: { ...chain, parent: presented, successors: [issued] }, isClone: false };
  if (chain.parent === presented) return { chain: { ...chain, successors: [...chain.successors, issued].slice(-MAX_SUCCESSORS) }, isClone: false };
  // The line that stood goes on as it was: the other holder is seen again at each of its renewals.
  return { chain: { ...chain, clones: (chain.clones ?? 0) + 1, clonedAtMs: facts.nowMs, clonedFrom: facts.address.slice(0, 64) }, isClone: true };
}
