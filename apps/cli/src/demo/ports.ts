// Ports of the demo: a range handed out by name, and the check that nobody else holds them.
import { createServer } from 'node:net';
import { fail } from '../errors.ts';

export type PortRange = { readonly from: number; readonly to: number };

/** Parses `21000-21199`. Throws CLI_PORT_RANGE. */
export function parsePortRange(text: string): PortRange {
  const match = /^(\d{1,5})-(\d{1,5})$/.exec(text);
  const from = Number(match?.[1]);
  const to = Number(match?.[2]);
  if (match === null || from < 1 || to > 65_535 || from > to) {
    throw fail('CLI_PORT_RANGE', `--ports ${JSON.stringify(text)}: want two ports from low to high, such as 21000-21199`);
  }
  return { from, to };
}

/** Gives each name the next port of the range, in order, so that a name has the same port in every run. Throws CLI_PORT_RANGE. */
export function assignPorts<N extends string>(range: PortRange, names: readonly N[]): Readonly<Record<N, number>> {
  if (range.to - range.from + 1 < names.length) {
    throw fail('CLI_PORT_RANGE', `--ports ${range.from}-${range.to}: the demo needs ${names.length} ports`, {
      hint: `give at least ${range.from}-${range.from + names.length - 1}`,
    });
  }
  return Object.fromEntries(names.map((name, i) => [name, range.from + i])) as Record<N, number>;
}

/** Makes sure that every port can be listened on. Throws CLI_PORT_BUSY naming the first that cannot, and what it is for. */
export async function checkPortsFree(ports: Readonly<Record<string, number>>): Promise<void> {
  const busy = (await Promise.all(Object.entries(ports).map(async ([name, port]) => ((await isFree(port)) ? undefined : { name, port })))).find((b) => b !== undefined);
  if (busy === undefined) return;
  throw fail('CLI_PORT_BUSY', `port ${busy.port} is taken by another program; the demo wants it for ${busy.name}`, {
    hint: 'choose another range, such as --ports 22000-22199',
    facts: { port: busy.port, name: busy.name },
  });
}

/** Ports the system says are free now, for tests that want federations side by side. */
export async function findFreePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(Array.from({ length: count }, () => listenOn(0)));
  const ports = servers.map((server) => {
    const address = server.address();
    return address !== null && typeof address === 'object' ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function isFree(port: number): Promise<boolean> {
  try {
    const server = await listenOn(port);
    await new Promise((resolve) => server.close(resolve));
    return true;
  } catch {
    return false;
  }
}

function listenOn(port: number) {
  return new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => resolve(server));
  });
}
