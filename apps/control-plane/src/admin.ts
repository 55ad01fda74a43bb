// What an operator may ask of this control plane, over its Unix socket: declare, list, make tokens, see the state.
import {
  type Export,
  formatProblems,
  formatServiceName,
  messageOf,
  parseDnsLabel,
  parseExport,
  parseService,
  type Parsed,
  type Service,
} from '@isthmus/model';
import { type admin, handleUnary } from '@isthmus/rpc';
import { keys, type Store } from '@isthmus/store';
import type { Bans, BanSubject, Issuance } from '@isthmus/identity';
import { fail } from './errors.ts';
import type { Resources } from './resources.ts';
import type { Lists } from './status.ts';

/** Everything the admin service shows or changes; lists are values ready to be written as JSON. */
export type AdminParts = {
  readonly store: Store;
  readonly resources: Resources;
  readonly issuance: Issuance;
  readonly bans: Bans;
  readonly lists: Lists;
  readonly status: () => object;
};

/** The largest document an operator may send. */
const MAX_DOCUMENT_BYTES = 256 * 1024;

export function makeAdminService(parts: AdminParts): admin.AdminServer {
  return {
    apply: handleUnary(async ({ document }) => ({ changed: await apply(parts, document) })),
    delete: handleUnary(async (request) => ({ existed: await remove(parts, request) })),
    list: handleUnary(async ({ kind, namespace }) => ({ documents: (await list(parts, kind, namespace)).map(toJson) })),
    createJoinToken: handleUnary(async ({ agent, role, services, ttlSeconds }) => {
      if (role !== 'agent' && role !== 'gateway') throw fail('CONTROL_PLANE_RESOURCE_INVALID', `role must be agent or gateway, not ${JSON.stringify(role)}`);
      const made = await parts.issuance.createJoinToken({ agent, role, services, ...(ttlSeconds > 0 && { ttlSeconds }) });
      return { token: made.token, id: made.id, expiresAtMs: BigInt(made.expiresAtMs) };
    }),
    ban: handleUnary(async ({ kind, namespace, name, reason }) => {
      await parts.bans.ban(subjectOf(kind, namespace, name), reason);
      return {};
    }),
    unban: handleUnary(async ({ kind, namespace, name }) => ({ existed: await parts.bans.lift(subjectOf(kind, namespace, name)) })),
    status: handleUnary(() => Promise.resolve({ document: toJson(parts.status()) })),
  };
}

/** Writes one service or export; unchanged content writes nothing, so that applying twice is no event. */
async function apply(parts: AdminParts, bytes: Uint8Array): Promise<boolean> {
  const resource = parseDocument(bytes);
  const name = { namespace: resource.namespace, name: resource.name };
  if (resource.kind === 'export' && parts.resources.service(name) === undefined && !(await isDeclared(parts, name))) {
    throw fail('CONTROL_PLANE_EXPORT_WITHOUT_SERVICE', `export ${formatServiceName(name)}: no such service is declared in this cluster`, {
      hint: 'apply the service first',
    });
  }
  const key = keys.resource(resource.kind, resource.namespace, resource.name);
  const before = await parts.store.get(key);
  const text = JSON.stringify(resource);
  if (before !== undefined && Buffer.from(before.value).toString('utf8') === text) return false;
  await parts.store.put(key, text);
  return true;
}

async function isDeclared(parts: AdminParts, name: { readonly namespace: string; readonly name: string }): Promise<boolean> {
  return (await parts.store.get(keys.resource('service', name.namespace, name.name))) !== undefined;
}

/** Parses what an operator sent, strictly: unknown fields and unknown kinds are errors that name them. */
export function parseDocument(bytes: Uint8Array): Service | Export {
  if (bytes.byteLength > MAX_DOCUMENT_BYTES) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `document is larger than ${MAX_DOCUMENT_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw fail('CONTROL_PLANE_RESOURCE_INVALID', `document is not JSON: ${messageOf(error)}`);
  }
  const kind = typeof json === 'object' && json !== null && 'kind' in json ? json.kind : undefined;
  if (kind !== 'service' && kind !== 'export') {
    throw fail('CONTROL_PLANE_RESOURCE_INVALID', `kind: must be "service" or "export", not ${JSON.stringify(kind)}`);
  }
  const parsed: Parsed<Service | Export> = kind === 'service' ? parseService(json) : parseExport(json);
  if (!parsed.ok) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `${kind}: ${formatProblems(parsed.problems)}`);
  const duplicate = parsed.value.kind === 'service' ? firstDuplicate(parsed.value.ports.map((p) => p.name)) : undefined;
  if (duplicate !== undefined) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `service: ports: name ${duplicate} stands twice`);
  return parsed.value;
}

function firstDuplicate(names: readonly string[]): string | undefined {
  return names.find((name, i) => names.indexOf(name) !== i);
}

async function remove(parts: AdminParts, request: admin.DeleteRequest): Promise<boolean> {
  const { kind, namespace, name } = request;
  if (kind === 'join-token') {
    await parts.issuance.deleteJoinToken(name);
    return true;
  }
  if (kind === 'agent' || kind === 'gateway') return parts.issuance.deleteEntry(kind, name);
  // What keeps an agent from attesting again: that it was removed, or that its instance joined before.
  if (kind === 'attestation') return parts.issuance.readmit(name);
  if (kind !== 'service' && kind !== 'export') throw fail('CONTROL_PLANE_KIND_UNKNOWN', `nothing of kind ${JSON.stringify(kind)} can be deleted`);
  for (const [path, text] of [['namespace', namespace], ['name', name]] as const) {
    const label = parseDnsLabel(text, path);
    if (!label.ok) throw fail('CONTROL_PLANE_RESOURCE_INVALID', formatProblems(label.problems));
  }
  if (kind === 'service' && parts.resources.export({ namespace, name }) !== undefined) {
    throw fail('CONTROL_PLANE_SERVICE_EXPORTED', `service ${namespace}/${name} is still exported`, { hint: `delete the export ${namespace}/${name} first` });
  }
  return parts.store.delete(keys.resource(kind, namespace, name));
}

function subjectOf(kind: string, namespace: string, name: string): BanSubject {
  if (kind === 'agent') return { kind, agent: name };
  if (kind === 'service') return { kind, service: { namespace, name } };
  throw fail('CONTROL_PLANE_KIND_UNKNOWN', `agents and services can be banned, not ${JSON.stringify(kind)}`, { hint: 'gateways share one identity: remove the gateway’s entry, or fence the cluster' });
}

async function list(parts: AdminParts, kind: string, namespace: string): Promise<readonly object[]> {
  const read = Object.hasOwn(parts.lists, kind) ? parts.lists[kind] : undefined;
  if (read === undefined) {
    throw fail('CONTROL_PLANE_KIND_UNKNOWN', `there is no list of ${JSON.stringify(kind)}`, { hint: `kinds: ${Object.keys(parts.lists).join(', ')}` });
  }
  const all = await read();
  return namespace === '' ? all : all.filter((item) => !('namespace' in item) || item.namespace === namespace);
}

function toJson(value: object): Buffer {
  return Buffer.from(JSON.stringify(value, (_key, v: unknown) => (typeof v === 'bigint' ? Number(v) : v)));
}
