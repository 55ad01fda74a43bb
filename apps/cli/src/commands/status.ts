// `isthmus status`: one control plane's own account of itself.
import { withAdmin } from '../admin.ts';
import type { CommandContext } from '../context.ts';
import { formatDocument, printOutcome } from '../output/table.ts';

export async function showStatus(context: CommandContext): Promise<void> {
  const status = await withAdmin(context, (api) => api.status());
  printOutcome(context, formatDocument(status), status);
}
