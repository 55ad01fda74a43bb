// `isthmus version`: this program's version, and with a context those of the federation's parts.
import { messageOf } from '@isthmus/model';
import { programVersion } from '@isthmus/runtime';
import type { Document } from '../admin.ts';
import type { CommandContext } from '../context.ts';
import { formatTable, printOutcome } from '../output/table.ts';

type Part = { readonly cluster: string; readonly part: string; readonly version: string };

/** Prints them; the own version also where the federation cannot be asked. */
export async function showVersion(context: CommandContext): Promise<void> {
  const own = programVersion();
  const { api } = context;
  if (api === undefined) return printOutcome(context, `isthmus ${own}`, { version: own });
  const asked = await partsOf(api).catch((error: unknown) => messageOf(error));
  const parts = typeof asked === 'string' ? [] : asked;
  const problem = typeof asked === 'string' ? asked : undefined;
  const table = formatTable(parts, [['cluster', (p) => p.cluster], ['part', (p) => p.part], ['version', (p) => (p.version === own || p.version === '-' ? p.version : `${p.version} (this is ${own})`)]], context.stdout.isTTY === true);
  printOutcome(context, [`isthmus ${own}`, ...(problem === undefined ? ['', table] : [`the federation’s parts cannot be asked: ${problem}`])].join('\n'), { version: own, parts, ...(problem !== undefined && { problem }) });
}

async function partsOf(api: NonNullable<CommandContext['api']>): Promise<readonly Part[]> {
  const { withApi } = await import('../api.ts');
  return withApi(api, async (client) => {
    const [{ value: me }, { value: status }] = await Promise.all([
      client.call<{ readonly cluster: string; readonly version?: string }>('getWhoAmI'),
      client.call<{ readonly clusters: readonly { readonly cluster: string; readonly status?: Document; readonly problem?: Document }[]; readonly trust?: Document }>('getFederationStatus'),
    ]);
    return [
      ...(status.trust === undefined ? [] : [{ cluster: '-', part: 'trust-root', version: textOf(status.trust['version']) }]),
      { cluster: me.cluster, part: 'admin-api', version: textOf(me.version) },
      ...status.clusters.flatMap(({ cluster, status: own = {}, problem }) => [
        { cluster, part: 'control-plane', version: problem === undefined ? textOf(own['version']) : '-' },
        ...proxiesOf(own).map((proxy) => ({ cluster, part: `${textOf(proxy['kind'])} ${textOf(proxy['name'] ?? proxy['id'])}`, version: textOf(proxy['version']) })),
      ]),
    ];
  });
}

function proxiesOf(status: Document): readonly Document[] {
  const { proxies } = status;
  return Array.isArray(proxies) ? (proxies as Document[]) : [];
}

function textOf(value: unknown): string {
  return typeof value === 'string' && value !== '' ? value : '-';
}
