// Changes an operator asks for: checked whole, fenced by the revision the operator saw, remembered by an idempotency key.
import { type Drain, formatProblems, formatServiceName, IsthmusError, parseDnsLabel, parseTrustDomain } from '@isthmus/model';
import type { admin } from '@isthmus/rpc';
import type { Bans, BanSubject, ForeignTrust, Issuance } from '@isthmus/identity';
import { keys, type Store, type StoreCompare, type StoreWrite } from '@isthmus/store';
import { type Declaration, parseDocument, placeOf } from './document.ts';
import { fail } from './errors.ts';
import type { Idempotency, Memory } from './idempotency.ts';
import type { Resources } from './resources.ts';

export type WriteParts = {
  readonly store: Store;
  readonly resources: Resources;
  readonly issuance: Issuance;
  readonly idempotency: Idempotency;
  readonly foreign: Pick<ForeignTrust, 'check'>;
  readonly bans: Bans;
  /** Names of the gateways that are connected. */
  readonly connectedGateways: () => readonly string[];
};

/** A write that lost its race reads again and decides anew, so often. */
const MAX_TRIES = 5;

/** Writes one declaration; unchanged content writes nothing, so that applying twice is no event. */
export async function apply(parts: WriteParts, request: admin.ApplyRequest): Promise<admin.ApplyResponse> {
  const resource = parseDocument(request.document);
  const { key, label } = placeOf(resource);
  const text = JSON.stringify(resource);
  const memory = parts.idempotency.of(request.write, `apply ${key} ${text}`);
  return retried(async () => {
    const earlier = await memory.earlier();
    if (earlier !== undefined) return { ...outcomeOf(earlier), replayed: true };
    await checkDeclaration(parts, resource);
    const before = await parts.store.get(key);
    const was = before?.modRevision ?? 0n;
    checkRevision(request.write, was, label);
    const isSame = before !== undefined && Buffer.from(before.value).toString('utf8') === text;
    const outcome = { changed: !isSame, created: before === undefined };
    if (request.write?.dryRun === true || (isSame && memory.key === undefined)) return { ...outcome, revision: was, replayed: false };
    const remembered = memory.writes({ ...outcome, wasRevision: String(was) });
    const written = await parts.store.txn({
      compare: [before === undefined ? { key, exists: false } : { key, modRevision: was }, ...remembered.compare],
      then: [...(isSame ? [] : [{ put: { key, value: text } }]), ...remembered.then],
    });
    if (!written.ok) return undefined;
    if (!isSame && (resource.kind === 'service' || resource.kind === 'export')) await parts.resources.seen(written.revision);
    return { ...outcome, revision: isSame ? was : written.revision, replayed: false };
  });
}

/** Lets an agent attest again that was removed, or whose instance joined before. */
export async function readmit(parts: WriteParts, { agent, write }: admin.ReadmitRequest): Promise<admin.ReadmitResponse> {
  const label = parseDnsLabel(agent, 'agent');
  if (!label.ok) throw fail('CONTROL_PLANE_RESOURCE_INVALID', formatProblems(label.problems));
  const { replayed, ...outcome } = await onceAfter(parts, write, `readmit ${agent}`, async (dryRun) => ({ existed: dryRun ? await parts.issuance.isBarred(agent) : await parts.issuance.readmit(agent) }));
  return { existed: outcome['existed'] === true, replayed };
}

/** Deletes a service, an export, a foreign trust domain with its bundle, a join token, or an entry (by its role). */
export async function remove(parts: WriteParts, request: admin.DeleteRequest): Promise<admin.DeleteResponse> {
  const key = deletedKey(request);
  const memory = parts.idempotency.of(request.write, `delete ${key}`);
  return retried(async () => {
    const earlier = await memory.earlier();
    if (earlier !== undefined) return { existed: earlier['existed'] === true, replayed: true };
    checkUnexported(parts, request);
    const before = await parts.store.get(key);
    checkRevision(request.write, before?.modRevision ?? 0n, `${request.kind} ${request.namespace === '' ? '' : `${request.namespace}/`}${request.name}`);
    const outcome = { existed: before !== undefined };
    if (request.write?.dryRun === true || (before === undefined && memory.key === undefined)) return { ...outcome, replayed: false };
    const isForeign = request.kind === 'federated-trust-domain';
    const isDeclared = request.kind === 'service' || request.kind === 'export';
    if (!isDeclared && !isForeign && request.kind !== 'drain') return { ...(await removeRight(parts, request, memory)), replayed: false };
    const remembered = memory.writes(outcome);
    const compare: StoreCompare = before === undefined ? { key, exists: false } : { key, modRevision: before.modRevision };
    const bundle: readonly StoreWrite[] = isForeign ? [{ delete: { key: keys.federated(request.name, 'bundle') } }] : [];
    const deleted: readonly StoreWrite[] = before === undefined ? [] : [{ delete: { key } }, ...bundle];
    const written = await parts.store.txn({ compare: [compare, ...remembered.compare], then: [...deleted, ...remembered.then] });
    if (!written.ok) return undefined;
    if (isDeclared) await parts.resources.seen(written.revision);
    return { ...outcome, replayed: false };
  });
}

/** Tokens and entries are rights: each change of one is in the cluster's log, so issuance alone makes it; it is remembered after. */
async function removeRight({ issuance, store }: WriteParts, { kind, name }: admin.DeleteRequest, memory: Memory): Promise<{ readonly existed: boolean }> {
  let existed = false;
  if (kind === 'agent' || kind === 'gateway' || kind === 'operator') {
    existed = await issuance.deleteEntry(kind, name);
    // Who comes by this name next is another.
    await store.delete(keys.drain(kind, name));
  } else existed = await issuance.deleteJoinToken(name).then(() => true, ifNotFound);
  const { compare, then } = memory.writes({ existed });
  if (then.length > 0) await store.txn({ compare, then });
  return { existed };
}

function ifNotFound(error: unknown): false {
  if (error instanceof IsthmusError && error.class === 'not-found') return false;
  throw error;
}

/** Makes a join token; of a remembered one the secret is not told again, since only its hash is kept. */
export async function createJoinToken(parts: WriteParts, request: admin.CreateJoinTokenRequest): Promise<admin.CreateJoinTokenResponse> {
  const { agent, role, services, ttlSeconds, write } = request;
  if (role !== 'agent' && role !== 'gateway' && role !== 'operator') {
    throw fail('CONTROL_PLANE_RESOURCE_INVALID', `role: must be agent, gateway or operator, not ${JSON.stringify(role)}`);
  }
  const memory = parts.idempotency.of(write, `token ${JSON.stringify([agent, role, services, ttlSeconds])}`);
  const wanted = { agent, role, services, ...(ttlSeconds > 0 && { ttlSeconds }) } as const;
  if (write?.dryRun === true) {
    parts.issuance.checkJoinToken(wanted);
    return { token: '', id: '', expiresAtMs: 0n, replayed: false };
  }
  const fence = memory.key === undefined ? undefined : { compare: memory.writes({}).compare, then: (made: object) => memory.writes(made).then };
  return retried(async () => {
    const earlier = await memory.earlier();
    if (earlier !== undefined) return { token: '', id: String(earlier['id']), expiresAtMs: BigInt(Number(earlier['expiresAtMs'])), replayed: true };
    try {
      const made = await parts.issuance.createJoinToken(wanted, fence);
      return { token: made.token, id: made.id, expiresAtMs: BigInt(made.expiresAtMs), replayed: false };
    } catch (error) {
      // Another with the same key came first: its answer is this one's too.
      if (error instanceof IsthmusError && error.code === 'IDENTITY_TOKEN_FENCED') return undefined;
      // It may have been made and taken back since, such as when the cluster's log cannot be written.
      await memory.forget();
      throw error;
    }
  });
}

/** Bans once for its idempotency key: a ban counts from its moment, so the same one again would reach further. */
export async function ban(parts: WriteParts, { kind, namespace, name, reason, write }: admin.BanRequest): Promise<admin.BanResponse> {
  const subject = subjectOf(kind, namespace, name);
  const memory = parts.idempotency.of(write, `ban ${JSON.stringify([subject, reason])}`);
  return fenced(async () => {
    if ((await memory.earlier()) !== undefined) return { replayed: true };
    if (write?.dryRun !== true) await parts.bans.ban(subject, reason, memory.writes({}));
    return { replayed: false };
  });
}

/** Takes a ban back. */
export async function lift(parts: WriteParts, { kind, namespace, name, write }: admin.UnbanRequest): Promise<admin.UnbanResponse> {
  const subject = subjectOf(kind, namespace, name);
  const memory = parts.idempotency.of(write, `unban ${JSON.stringify(subject)}`);
  return fenced(async () => {
    const earlier = await memory.earlier();
    if (earlier !== undefined) return { existed: earlier['existed'] === true, replayed: true };
    const existed = write?.dryRun === true || (await parts.bans.lift(subject, memory.writes({ existed: true })));
    if (existed) return { existed, replayed: false };
    const { compare, then } = memory.writes({ existed });
    return then.length === 0 || (await parts.store.txn({ compare, then })).ok ? { existed, replayed: false } : undefined;
  });
}

/** Of two changes of bans with one key the later one finds the earlier's answer. */
function fenced<T>(attempt: () => Promise<T | undefined>): Promise<T> {
  return retried(() => attempt().catch((error: unknown) => {
    if (error instanceof IsthmusError && error.code === 'IDENTITY_BAN_FENCED') return undefined;
    throw error;
  }));
}

/** Rights are changed by identity alone, in its own order with the log: such a write is remembered right after it. */
async function onceAfter<T extends object>({ idempotency, store }: WriteParts, write: admin.Write | undefined, fingerprint: string, work: (dryRun: boolean) => Promise<T>): Promise<{ readonly replayed: boolean } & Readonly<Record<string, unknown>>> {
  const memory = idempotency.of(write, fingerprint);
  const earlier = await memory.earlier();
  if (earlier !== undefined) return { ...earlier, replayed: true };
  const outcome = await work(write?.dryRun === true);
  const { compare, then } = memory.writes(outcome);
  if (then.length > 0) await store.txn({ compare, then });
  return { ...outcome, replayed: false };
}

function subjectOf(kind: string, namespace: string, name: string): BanSubject {
  if (kind === 'agent' || kind === 'gateway') return { kind, agent: name };
  if (kind === 'service') return { kind, service: { namespace, name } };
  throw fail('CONTROL_PLANE_KIND_UNKNOWN', `agents, gateways and services can be banned, not ${JSON.stringify(kind)}`, { hint: '`isthmus cluster fence` at the trust root cuts off a whole cluster' });
}

async function retried<T>(attempt: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const answer = await attempt();
    if (answer !== undefined) return answer;
  }
  throw fail('CONTROL_PLANE_CONTENDED', 'others write the same thing all the time; nothing was changed', { hint: 'try again' });
}

/** Two who read the same revision: the second to write is told, instead of undoing the first one's work. */
function checkRevision(write: admin.Write | undefined, revision: bigint, what: string): void {
  if (write?.ifRevision === undefined || write.ifRevision === revision) return;
  throw fail('CONTROL_PLANE_STALE', `${what} ${revision === 0n ? 'is not there' : `is at revision ${revision}`}, the write was made for ${write.ifRevision === 0n ? 'a new one' : `revision ${write.ifRevision}`}`, {
    hint: 'read it again, and write again what should change',
    facts: { revision: String(revision) },
  });
}

/** What a declaration needs beyond its form: an export its service, a foreign trust domain that it is none of ours. */
async function checkDeclaration(parts: WriteParts, resource: Declaration): Promise<void> {
  if (resource.kind === 'federated-trust-domain') return parts.foreign.check(resource);
  if (resource.kind === 'drain') return checkDrain(parts, resource);
  if (resource.kind !== 'export' || parts.resources.service(resource) !== undefined) return;
  if ((await parts.store.get(keys.resource('service', resource.namespace, resource.name))) !== undefined) return;
  throw fail('CONTROL_PLANE_EXPORT_WITHOUT_SERVICE', `export ${formatServiceName(resource)}: no such service is declared in this cluster`, { hint: 'apply the service first' });
}

/** Who is to be drained must have joined; and through the last gateway this very wish would have to be taken back. */
async function checkDrain({ store, issuance, connectedGateways }: WriteParts, { role, name }: Drain): Promise<void> {
  const joined = (await issuance.listEntries()).some((entry) => entry.role === role && entry.agent === name && entry.removedAtMs === undefined);
  if (!joined) throw fail('CONTROL_PLANE_PROXY_UNKNOWN', `no ${role} ${name} has joined this cluster`, { hint: `\`isthmus ${role} list\` shows who has` });
  if (role === 'agent') return;
  const draining = new Set((await store.list(keys.drains())).entries.map(({ key }) => key));
  if (!connectedGateways().some((other) => other !== name && !draining.has(keys.drain('gateway', other)))) throw fail('CONTROL_PLANE_LAST_GATEWAY', `${name} is the last gateway that is connected and takes callers: this cluster would be cut off, and whoever could take that back with it`, { hint: 'add another gateway, or take the drain of another back, first' });
}

function checkUnexported({ resources }: WriteParts, { kind, namespace, name }: admin.DeleteRequest): void {
  if (kind !== 'service' || resources.export({ namespace, name }) === undefined) return;
  throw fail('CONTROL_PLANE_SERVICE_EXPORTED', `service ${namespace}/${name} is still exported`, { hint: `delete the export ${namespace}/${name} first` });
}

function deletedKey({ kind, namespace, name }: admin.DeleteRequest): string {
  if (kind === 'join-token') {
    if (!/^[0-9a-f]{12}$/.test(name)) throw fail('CONTROL_PLANE_RESOURCE_INVALID', 'name: must be the 12 hex digits of a join token’s id');
    return keys.joinToken(name);
  }
  if (kind === 'federated-trust-domain') {
    const trustDomain = parseTrustDomain(name, 'name');
    if (!trustDomain.ok) throw fail('CONTROL_PLANE_RESOURCE_INVALID', formatProblems(trustDomain.problems));
    return keys.federated(name, 'declared');
  }
  if (kind === 'drain') {
    // The role stands where others have their namespace.
    const label = parseDnsLabel(name, 'name');
    if (!label.ok || (namespace !== 'agent' && namespace !== 'gateway')) throw fail('CONTROL_PLANE_RESOURCE_INVALID', label.ok ? `role: must be agent or gateway, not ${JSON.stringify(namespace)}` : formatProblems(label.problems));
    return keys.drain(namespace, name);
  }
  const isEntry = kind === 'agent' || kind === 'gateway' || kind === 'operator';
  if (!isEntry && kind !== 'service' && kind !== 'export') throw fail('CONTROL_PLANE_KIND_UNKNOWN', `nothing of kind ${JSON.stringify(kind)} can be deleted`);
  for (const [path, text] of isEntry ? ([['name', name]] as const) : ([['namespace', namespace], ['name', name]] as const)) {
    const label = parseDnsLabel(text, path);
    if (!label.ok) throw fail('CONTROL_PLANE_RESOURCE_INVALID', formatProblems(label.problems));
  }
  return isEntry ? keys.entry(kind, name) : keys.resource(kind, namespace, name);
}

function outcomeOf(earlier: Readonly<Record<string, unknown>>): Omit<admin.ApplyResponse, 'replayed'> {
  return { changed: earlier['changed'] === true, created: earlier['created'] === true, revision: 0n };
}
