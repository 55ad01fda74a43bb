// `isthmus service …`: services of a cluster, and where each of them answers.
import { formatProblems, formatServiceName, parseService, type Service, type ServiceName, type ServicePort } from '@isthmus/model';
import { type AdminApi, type Document, serviceArgument, withAdmin } from '../admin.ts';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { printOutcome, printRows } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { text } from './cluster.ts';

export async function applyService(context: CommandContext, [name]: readonly string[], options: Options): Promise<void> {
  const labels = Object.fromEntries((options['label'] as readonly string[]).map(parseLabel));
  const document: Service = {
    kind: 'service',
    ...serviceArgument(name),
    ports: (options['port'] as readonly string[]).map(parsePort),
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
  };
  const parsed = parseService(document);
  if (!parsed.ok) throw fail('CLI_BAD_INPUT', formatProblems(parsed.problems));
  const { changed } = await withAdmin(context, (api) => api.apply(parsed.value));
  printOutcome(context, `service ${formatServiceName(document)} ${changed ? 'applied' : 'unchanged'}`, { changed, document });
}

/** Parses `name=port/protocol`, such as `http=80/http`; the protocol is tcp where left out. Throws CLI_BAD_INPUT. */
export function parsePort(spec: string): ServicePort {
  const match = /^([^=]+)=(\d+)(?:\/(http|http2|grpc|tcp))?$/.exec(spec);
  const [, name, port, protocol = 'tcp'] = match ?? [];
  if (name === undefined || port === undefined) {
    throw fail('CLI_BAD_INPUT', `--port ${JSON.stringify(spec)}: want name=port/protocol, protocol http, http2, grpc or tcp`, { hint: 'for example --port http=80/http' });
  }
  return { name, port: Number(port), protocol: protocol as ServicePort['protocol'] };
}

function parseLabel(spec: string): [string, string] {
  const at = spec.indexOf('=');
  if (at < 1) throw fail('CLI_BAD_INPUT', `--label ${JSON.stringify(spec)}: want key=value`);
  return [spec.slice(0, at), spec.slice(at + 1)];
}

export async function listServices(context: CommandContext): Promise<void> {
  const services = await withAdmin(context, (api) => api.list('service'));
  printRows(context, services, [
    ['namespace', (s) => text(s['namespace'])],
    ['name', (s) => text(s['name'])],
    ['ports', (s) => (Array.isArray(s['ports']) ? (s['ports'] as ServicePort[]).map((p) => `${p.name}=${p.port}/${p.protocol}`).join(' ') : '-')],
  ]);
}

export async function deleteService(context: CommandContext, [name]: readonly string[]): Promise<void> {
  const service = serviceArgument(name);
  const { existed } = await withAdmin(context, (api) => api.delete('service', service.namespace, service.name));
  if (!existed) throw fail('CLI_NOT_FOUND', `no service ${formatServiceName(service)}`);
  printOutcome(context, `service ${formatServiceName(service)} deleted`, { existed });
}

/** Instances in this cluster, then other clusters that offer the service; a name without namespace will do if it is the only one. */
export async function listEndpoints(context: CommandContext, [name = '']: readonly string[]): Promise<void> {
  const rows = await withAdmin(context, async (api) => {
    const service = name.includes('/') ? serviceArgument(name) : await findService(api, name);
    const [workloads, imports] = await Promise.all([api.list('workload', service.namespace), api.list('import', service.namespace)]);
    return [
      ...workloads.filter((w) => w['namespace'] === service.namespace && w['service'] === service.name).map((w) => ({ cluster: context.cluster, ...w })),
      ...imports.filter((i) => i['namespace'] === service.namespace && i['name'] === service.name),
    ];
  });
  printRows<Document>(context, rows, [
    ['cluster', (r) => text(r['cluster'])],
    ['instance', (r) => (r['instance'] === undefined ? 'through its gateway' : `${text(r['agent'])}.${text(r['instance'])}`)],
    ['address', (r) => (r['address'] === undefined ? text(r['gateways']) : `${text(r['address'])}:${portsOf(r['inboundPorts'])}`)],
    ['state', (r) => text(r['health']) ?? text(r['state'])],
    ['ready', (r) => text(r['readyCount'])],
    ['weight', (r) => text(r['weight']) ?? text(r['readyWeight'])],
    ['locality', (r) => text(r['locality'])],
  ]);
}

function portsOf(ports: unknown): string {
  return ports !== null && typeof ports === 'object' ? Object.values(ports).join(',') : '-';
}

async function findService(api: AdminApi, name: string): Promise<ServiceName> {
  const [services, imports] = await Promise.all([api.list('service'), api.list('import')]);
  const namespaces = new Set([...services, ...imports].filter((d) => d['name'] === name).map((d) => String(d['namespace'])));
  const [namespace, ...others] = namespaces;
  if (namespace === undefined) throw fail('CLI_NOT_FOUND', `no service is called ${JSON.stringify(name)}`, { hint: '`isthmus service list` and `isthmus export imports` show those there are' });
  if (others.length > 0) throw fail('CLI_AMBIGUOUS', `${name} stands in ${[...namespaces].join(' and ')}`, { hint: `write ${namespace}/${name}` });
  return { namespace, name };
}
