// What a cluster's authority keeps on disk: its intermediate with its key, and the federation as last heard.
import { bundleSchema, compileSchema, memberSchema, type Static, Type } from '@isthmus/model';

const der = Type.String({ maxLength: 16_384 });

export const slotStateSchema = Type.Object({
  version: Type.Literal(1),
  cluster: Type.String(),
  federation: Type.String(),
  /** The root certificate the first token pinned; every intermediate must come from it. */
  root: der,
  /** The bootstrap token that was spent, by its id. */
  tokenId: Type.String(),
  keyPem: Type.String(),
  intermediate: der,
});
export type SlotState = Static<typeof slotStateSchema>;
export const parseSlotState = compileSchema(slotStateSchema);

export const viewStateSchema = Type.Object({
  version: Type.Literal(1),
  members: Type.Array(memberSchema),
  bundles: Type.Array(bundleSchema),
});
export type ViewState = Static<typeof viewStateSchema>;
export const parseViewState = compileSchema(viewStateSchema);
