// The trust root in one file: state, keys and log of one moment, under a passphrase; and back again into an empty directory.
import { existsSync } from 'node:fs';
import { open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { compileSchema, formatProblems, messageOf, type Static, Type } from '@isthmus/model';
import { seal, type SealCost, sha256Hex, unseal } from '@isthmus/pki';
import { makePrivateDir, openStateFile, readPrivateFile, writePrivateFile } from '@isthmus/runtime';
import { fail } from '../errors.ts';
import { linesOf } from '../transparency-log/lines.ts';
import type { Head } from '../transparency-log/record.ts';
import { ChainCheck } from '../transparency-log/verify.ts';
import { LOG_FILE } from './root-log.ts';
import { openRotation, signingRoot } from './rotation-state.ts';
import { MAX_STATE_BYTES, parseTrustRootState, type TrustRootState } from './state.ts';

const STATE_FILE = 'trust-root.state';
const KEY_FILE = /^root[a-z0-9-]*\.key$/;
/** Beyond this a log is kept by a copy of its own. */
const MAX_BACKUP_BYTES = 256 * 1024 * 1024;
const ATTEMPTS = 10;
/** By how much sequences of bundles go on where an older state is restored: more than there ever were since. */
const SEQUENCE_LEAP = 1_000;

const backupSchema = Type.Object({
  version: Type.Literal(1),
  federation: Type.String(),
  madeAtMs: Type.Integer(),
  files: Type.Array(Type.Object({ name: Type.String({ pattern: `^(${STATE_FILE}|${LOG_FILE}|root[a-z0-9-]*\\.key)$` }), sha256: Type.String(), base64: Type.String() }), { maxItems: 16 }),
});
type BackupContent = Static<typeof backupSchema>;
const parseBackup = compileSchema(backupSchema);

export type BackupFacts = {
  readonly federation: string;
  readonly madeAtMs: number;
  readonly log: Head;
  readonly members: number;
  /** Keys that are in a token or behind a program, and so in no backup: these must be kept there, by its own means. */
  readonly keysElsewhere: readonly { readonly name: string; readonly place: 'pkcs11' | 'program' }[];
};

/**
 * Writes a backup of `stateDir` to `path` (0600), whether the trust root runs or not: what it holds is what stood at one
 * moment. **Throws** IDENTITY_BACKUP_REFUSED: the file is there already, there is no trust root, or it never stood still;
 * PKI_PASSPHRASE_REFUSED, STATE_*.
 */
export async function backupTrustRoot(options: { readonly stateDir: string; readonly path: string; readonly passphrase: Uint8Array; readonly nowMs: number; readonly cost?: SealCost }): Promise<BackupFacts> {
  const { stateDir, path, passphrase, nowMs } = options;
  if (existsSync(path)) throw fail('IDENTITY_BACKUP_REFUSED', `${path} is there already`, { hint: 'choose another name; backups are never overwritten' });
  const { state, files } = await readMoment(stateDir);
  const content: BackupContent = {
    version: 1,
    federation: state.federation,
    madeAtMs: nowMs,
    files: files.map(({ name, bytes }) => ({ name, sha256: sha256Hex(bytes), base64: bytes.toString('base64') })),
  };
  await writePrivateFile(path, await seal(Buffer.from(JSON.stringify(content)), passphrase, options.cost));
  return factsOf(state, nowMs);
}

function factsOf(state: TrustRootState, madeAtMs: number): BackupFacts {
  const roots = [signingRoot(state), ...(openRotation(state)?.to === undefined ? [] : [openRotation(state)?.from, openRotation(state)?.to])];
  const elsewhere = new Map(roots.flatMap((ref) => (ref?.keyIn === undefined ? [] : [[ref.keyFile, ref.keyIn] as const])));
  const keysElsewhere = [...elsewhere].map(([name, place]) => ({ name, place }));
  return { federation: state.federation, madeAtMs, log: state.log ?? { records: 0, hash: '' }, members: state.members.length, keysElsewhere };
}

/** The key that signs must be among the files, or known to be elsewhere. */
function refuseWithoutKey(state: TrustRootState, names: readonly string[], where: string): void {
  const { keyFile, keyIn } = signingRoot(state);
  if (keyIn === undefined && !names.includes(keyFile)) throw fail('IDENTITY_BACKUP_REFUSED', `${where} has no key of the root: ${keyFile} is missing`);
}

type Held = { readonly name: string; readonly bytes: Buffer };

/** State first, then keys and log, then the state once more: the same state before and after means that all belongs together. */
async function readMoment(stateDir: string): Promise<{ readonly state: TrustRootState; readonly files: readonly Held[] }> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const before = await readState(stateDir);
    const names = (await readdir(stateDir)).filter((name) => KEY_FILE.test(name));
    const keys = await Promise.all(names.map(async (name) => ({ name, bytes: await readPrivateFile(join(stateDir, name)).catch(() => undefined) })));
    const log = before.state.log === undefined ? undefined : await readLogUpTo(join(stateDir, LOG_FILE), before.state.log);
    const after = await readState(stateDir);
    if (!before.bytes.equals(after.bytes)) continue;
    const held = keys.flatMap(({ name, bytes }) => (bytes === undefined ? [] : [{ name, bytes }]));
    refuseWithoutKey(before.state, held.map(({ name }) => name), stateDir);
    return { state: before.state, files: [{ name: STATE_FILE, bytes: before.bytes }, ...held, ...(log === undefined ? [] : [{ name: LOG_FILE, bytes: log }])] };
  }
  throw fail('IDENTITY_BACKUP_REFUSED', `${stateDir} changed all the while it was read`, { hint: 'try again, or stop the trust root for a moment' });
}

async function readState(stateDir: string): Promise<{ readonly bytes: Buffer; readonly state: TrustRootState }> {
  const path = join(stateDir, STATE_FILE);
  if (!existsSync(path)) throw fail('IDENTITY_BACKUP_REFUSED', `${stateDir} is not the state directory of a trust root: it has no ${STATE_FILE}`);
  const bytes = await readPrivateFile(path, { maxBytes: MAX_STATE_BYTES + 100 });
  return { bytes, state: stateOf(bytes, path) };
}

function stateOf(bytes: Buffer, path: string): TrustRootState {
  const end = bytes.indexOf(10);
  const text = bytes.subarray(end + 1);
  try {
    const parsed = parseTrustRootState(JSON.parse(text.toString()));
    if (parsed.ok && bytes.toString('latin1', 0, end) === `sha256 ${sha256Hex(text)}`) return parsed.value;
  } catch {
    // Told below.
  }
  throw fail('IDENTITY_BACKUP_REFUSED', `${path} is cut short or was changed`, { hint: 'make the backup from a directory that is whole' });
}

/** The records of the log that the state knows of, checked; what came after them belongs to a later state. */
async function readLogUpTo(path: string, head: Head): Promise<Buffer> {
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw fail('IDENTITY_BACKUP_REFUSED', `${path} cannot be read: ${messageOf(cause)}`, { cause });
  });
  try {
    return await checkedLog(linesOf(file), head, path);
  } finally {
    await file.close();
  }
}

async function checkedLog(lines: ReturnType<typeof linesOf>, head: Head, path: string): Promise<Buffer> {
  const check = new ChainCheck();
  const parts: Buffer[] = [];
  let sizeBytes = 0;
  for await (const { bytes } of lines) {
    if (check.head.records === head.records) break;
    const taken = check.take(bytes);
    if (!taken.ok) throw fail('IDENTITY_BACKUP_REFUSED', `${path}, line ${check.head.records + 1}: ${taken.why}`);
    sizeBytes += bytes.length + 1;
    if (sizeBytes > MAX_BACKUP_BYTES / 2) throw fail('IDENTITY_BACKUP_REFUSED', `${path} is larger than ${MAX_BACKUP_BYTES / 2} bytes`, { hint: 'copy the whole directory with the trust root stopped' });
    parts.push(bytes, Buffer.from('\n'));
  }
  if (check.head.records !== head.records || check.head.hash !== head.hash) throw fail('IDENTITY_BACKUP_REFUSED', `${path} is not the log its state knows of`);
  return Buffer.concat(parts);
}

/**
 * Puts a backup into `stateDir`, which must hold no trust root. `checkpoint` is the newest hash of the log that was noted
 * elsewhere: a backup whose log lacks it is older than what clusters have seen, and is refused unless `acceptOlder`; then
 * the sequences of all bundles leap ahead, so that clusters take what the restored root says.
 * **Throws** IDENTITY_BACKUP_REFUSED, PKI_SEALED_INVALID, STATE_*; nothing is written then.
 */
export async function restoreTrustRoot(options: {
  readonly stateDir: string;
  readonly path: string;
  readonly passphrase: Uint8Array;
  readonly checkpoint?: string | undefined;
  readonly acceptOlder?: boolean;
  readonly nowMs: number;
}): Promise<BackupFacts> {
  const { stateDir, path, passphrase, checkpoint, acceptOlder = false } = options;
  const present = existsSync(stateDir) ? (await readdir(stateDir)).filter((name) => name === STATE_FILE || name === LOG_FILE || KEY_FILE.test(name)) : [];
  if (present.length > 0) throw fail('IDENTITY_BACKUP_REFUSED', `${stateDir} holds ${present.join(', ')}: nothing is overwritten`, { hint: 'move the old directory away, or restore into another one' });
  const content = readContent(await unseal(await readPrivateFile(path, { maxBytes: MAX_BACKUP_BYTES * 2 }), passphrase), path);
  const files = new Map(content.files.map(({ name, sha256, base64 }) => {
    const bytes = Buffer.from(base64, 'base64');
    if (sha256Hex(bytes) !== sha256) throw fail('IDENTITY_BACKUP_REFUSED', `${name} in ${path} does not have its checksum`);
    return [name, bytes] as const;
  }));
  const stateBytes = files.get(STATE_FILE);
  if (stateBytes === undefined) throw fail('IDENTITY_BACKUP_REFUSED', `${path} holds no state`);
  const state = stateOf(stateBytes, `${STATE_FILE} in ${path}`);
  refuseWithoutKey(state, [...files.keys()], path);
  const isOld = checkpoint !== undefined && !(files.get(LOG_FILE)?.includes(`"hash":"${checkpoint}"`) ?? false);
  if (isOld && !acceptOlder) {
    throw fail('IDENTITY_BACKUP_REFUSED', `the log in ${path} does not have the record ${checkpoint}: the backup is older than that, or of another trust root`, {
      hint: 'take a newer backup; --accept-older goes on all the same: clusters that joined since join again, and a root, fence or ban from since then is forgotten',
    });
  }
  await makePrivateDir(stateDir);
  for (const [name, bytes] of files) if (name !== STATE_FILE) await writePrivateFile(join(stateDir, name), bytes);
  // The state last: a restore that is cut off is no trust root yet, and says so at its start.
  const restored = { atMs: options.nowMs, backupMadeAtMs: content.madeAtMs, sequenceLeap: isOld ? SEQUENCE_LEAP : 0 };
  await openStateFile(join(stateDir, STATE_FILE)).write(JSON.stringify({ ...(isOld ? leapt(state) : state), restored }));
  return factsOf(state, content.madeAtMs);
}

function leapt(state: TrustRootState): TrustRootState {
  return {
    ...state,
    bundles: state.bundles.map((bundle) => ({ ...bundle, sequence: bundle.sequence + SEQUENCE_LEAP })),
    formerSequences: Object.fromEntries(Object.entries(state.formerSequences).map(([trustDomain, sequence]) => [trustDomain, sequence + SEQUENCE_LEAP])),
  };
}

function readContent(plain: Buffer, path: string): BackupContent {
  let json: unknown;
  try {
    json = JSON.parse(plain.toString());
  } catch {
    throw fail('IDENTITY_BACKUP_REFUSED', `${path} holds no backup of a trust root`);
  }
  const parsed = parseBackup(json);
  if (!parsed.ok) throw fail('IDENTITY_BACKUP_REFUSED', `${path} holds no backup of a trust root: ${formatProblems(parsed.problems)}`);
  return parsed.value;
}
