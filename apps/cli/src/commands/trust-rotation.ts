// `isthmus trust rotate` and `isthmus trust status`: the root replaced step by step, shown while it goes.
import { createInterface } from 'node:readline/promises';
import type { RotationDocument } from '@isthmus/identity';
import { formatDuration, messageOf } from '@isthmus/model';
import { formatYaml, systemClock } from '@isthmus/runtime';
import type { CommandContext } from '../context.ts';
import { fail } from '../errors.ts';
import { formatTable, printOutcome } from '../output/table.ts';
import type { Options } from '../tree/action.ts';
import { type RotateRequest, type RotationApi, withTrustRoot } from '../trust-admin.ts';
import { formatBar } from '../output/bar.ts';
import { instant } from './token.ts';

const POLL_MS = 300;
/** The trust root may be restarted while it is followed. */
const AWAY_LIMIT_MS = 120_000;
const SHOWN_WAITING = 12;
const EX_TEMPFAIL = 75;

/** Prints how things stand. */
const PLACES: Readonly<Record<string, string>> = { files: 'a file', pkcs11: 'a PKCS#11 token', program: 'the keeping of a program' };

export async function showTrust(context: CommandContext): Promise<void> {
  const document = await withTrustRoot(context, (api) => api.rotation());
  printOutcome(context, describe(document, context.stdout.isTTY === true).join('\n'), document);
}

/** Begins, changes or follows a rotation. Exit code 75 where it stops before its end. */
export async function rotateTrust(context: CommandContext, _args: readonly string[], options: Options): Promise<void> {
  await withTrustRoot(context, async (api) => {
    const before = await api.rotation();
    const request = requestOf(options, isOpen(before));
    if (request?.compromised === true && options['yes'] !== true) await confirm(context, before);
    const isGuarded = api.renew !== undefined && request?.action === 'begin' && request.compromised !== true && request.holdBefore === undefined && options['follow'] !== false;
    if (request !== undefined) await api.rotate(isGuarded ? { ...request, holdBefore: 'switch' } : request);
    if (options['follow'] === false) {
      show(context, await api.rotation());
      return;
    }
    const end = isGuarded ? await followLoggedIn(context, api) : await follow(context, api);
    if (isOpen(end)) process.exitCode = EX_TEMPFAIL;
  });
}

/** What is asked of the trust root; undefined to follow the rotation under way. **Throws** CLI_BAD_INPUT. */
export function requestOf(options: Options, isUnderWay: boolean): RotateRequest | undefined {
  const without = (options['without'] as readonly string[] | undefined) ?? [];
  const wanted = (['pause', 'resume', 'rollback', 'compromised'] as const).filter((name) => options[name] === true);
  if (wanted.length > 1) throw fail('CLI_BAD_INPUT', `--${wanted.join(' and --')} exclude each other`);
  const hold = typeof options['holdBefore'] === 'string' ? { holdBefore: options['holdBefore'] } : {};
  const [action] = wanted;
  if (action === 'pause' || action === 'rollback') return { action };
  if (action === 'resume') return { action, without, ...hold };
  if (action === 'compromised') return { action: 'begin', compromised: true, without, ...hold };
  if (!isUnderWay) return { action: 'begin', without, ...hold };
  return without.length > 0 ? { action: 'without', without } : undefined;
}

/** What a compromised root's removal breaks, before it does. **Throws** CLI_NOT_CONFIRMED. */
async function confirm(context: CommandContext, document: RotationDocument): Promise<void> {
  context.stderr.write(`${whatBreaks(document).join('\n')}\n`);
  if (!process.stdin.isTTY) throw fail('CLI_NOT_CONFIRMED', 'nobody is there to confirm it', { hint: 'add --yes' });
  const line = createInterface({ input: process.stdin, output: context.stderr });
  const answer = await line.question('Type the federation’s name to go on: ');
  line.close();
  if (answer.trim() !== document.federation) throw fail('CLI_NOT_CONFIRMED', 'it was not confirmed, nothing was done');
}

/** The consequences, in words. */
export function whatBreaks(document: RotationDocument): readonly string[] {
  const away = document.clusters.filter((c) => !c.isConnected || c.heardAtMs === undefined).map((c) => c.cluster);
  const processes = document.clusters.reduce((sum, c) => sum + c.processes, 0);
  return [
    `The root of ${document.federation} is revoked within about 10 seconds of the new one’s signing, acknowledged or not:`,
    `- ${processes} processes of ${document.clusters.length} clusters get new certificates at once; who is not reached in that time is cut off and must join again with a new token.`,
    ...(away.length > 0 ? [`- Not heard now, so cut off for certain: ${away.join(', ')}.`] : []),
    '- Connections that stand on the old root are closed; requests in them fail.',
    '- Every token that was not used yet is void, and there is no way back.',
  ];
}

/**
 * Follows a rotation over an admin API. An operator is none of those that are waited for, so the rotation holds twice for
 * this login: before the switch, to learn the new root, and before the old one goes, to prove itself under the new one.
 */
export async function followLoggedIn(context: CommandContext, api: RotationApi): Promise<RotationDocument> {
  let end = await follow(context, api);
  for (const [hold, next] of [['switch', 'retire'], ['retire', undefined]] as const) {
    const { rotation } = end;
    // Somebody else paused it, turned it round or ended it.
    if (rotation === undefined || rotation.step !== hold || rotation.holdBefore !== hold || rotation.paused || rotation.isRollback) return end;
    await api.renew?.();
    await api.rotate({ action: 'resume', ...(next !== undefined && { holdBefore: next }) });
    end = await follow(context, api);
  }
  return end;
}

/** Shows each change until it is done, paused or holds. */
async function follow(context: CommandContext, api: RotationApi): Promise<RotationDocument> {
  let shown = '';
  let drawnLines = 0;
  let awaySinceMs: number | undefined;
  for (;;) {
    const document = await api.rotation().catch((error: unknown) => {
      awaySinceMs ??= systemClock.monotonicMs();
      if (systemClock.monotonicMs() - awaySinceMs > AWAY_LIMIT_MS) throw error;
      if (shown !== 'away') context.stderr.write(`the trust root does not answer, waiting for it (${messageOf(error)})\n`);
      shown = 'away';
      return undefined;
    });
    if (document !== undefined) {
      awaySinceMs = undefined;
      const lines = linesOf(context, document);
      const text = lines.join('\n');
      if (text !== shown) {
        if (context.stdout.isTTY === true && context.output === 'table' && drawnLines > 0) context.stdout.write(`\x1b[${drawnLines}A\x1b[0J`);
        context.stdout.write(`${text}\n${context.stdout.isTTY === true || context.output !== 'table' ? '' : '\n'}`);
        drawnLines = text.split('\n').length;
        shown = text;
      }
      if (isAtRest(document)) return document;
    }
    await systemClock.sleep(POLL_MS);
  }
}

function show(context: CommandContext, document: RotationDocument): void {
  context.stdout.write(`${linesOf(context, document).join('\n')}\n`);
}

/** The document as this command prints it: a page, or one document for programs. */
function linesOf(context: CommandContext, document: RotationDocument): readonly string[] {
  if (context.output === 'json') return [JSON.stringify(document)];
  if (context.output === 'yaml') return ['---', formatYaml(document).trimEnd()];
  return describe(document, context.stdout.isTTY === true);
}

function isOpen({ rotation }: RotationDocument): boolean {
  return rotation !== undefined && rotation.step !== 'done';
}

function isAtRest({ rotation }: RotationDocument): boolean {
  return rotation === undefined || rotation.step === 'done' || rotation.paused || rotation.step === rotation.holdBefore;
}

/** The document in lines for people. */
export function describe(document: RotationDocument, colour: boolean): readonly string[] {
  const { rotation } = document;
  return [
    ...(document.key === undefined || (document.key.place === 'files' && document.key.isAvailable) ? [] : [`the root’s key is in ${PLACES[document.key.place] ?? document.key.place}${document.key.isAvailable ? '' : ', which is away: nothing is signed'}`]),
    ...document.roots.map((r) => `root ${r.sha256.slice(0, 12)}  ${r.state}${r.expiresAtMs === undefined ? '' : `, until ${instant(r.expiresAtMs) ?? ''}`}`),
    ...(rotation === undefined ? ['no rotation yet'] : progress(rotation)),
    ...(colour && rotation !== undefined && rotation.step !== 'done' ? bars(document, rotation.step) : []),
    formatTable(
      document.clusters,
      [
        ['cluster', (c) => c.cluster],
        ['connected', (c) => (c.isConnected ? 'yes' : 'no')],
        ['processes', (c) => c.processes],
        ['not heard', (c) => c.unheard],
        ['trust the new root', (c) => (rotation === undefined || rotation.step === 'done' ? '-' : `${c.acknowledged} of ${c.processes}`)],
        ['hang on the old root', (c) => (rotation === undefined || rotation.step === 'done' ? '-' : c.onOldRoot)],
      ],
      colour,
    ),
  ];
}

const STEPS = ['prepare', 'distribute', 'prove', 'switch', 'reissue', 'prove-unused', 'retire'];

/** How far it is, for a terminal: steps, and processes that acknowledged. */
function bars({ clusters }: RotationDocument, step: string): readonly string[] {
  const sum = (of: (c: RotationDocument['clusters'][number]) => number): number => clusters.reduce((all, c) => all + of(c), 0);
  const processes = sum((c) => c.processes);
  return [
    `${formatBar(Math.max(0, STEPS.indexOf(step)), STEPS.length)} steps`,
    `${formatBar(sum((c) => c.acknowledged), processes)} trust the new root`,
    `${formatBar(processes - sum((c) => c.onOldRoot), processes)} are off the old root`,
  ];
}

function progress(rotation: NonNullable<RotationDocument['rotation']>): readonly string[] {
  const what = `${rotation.isRollback ? 'rollback' : 'rotation'} ${rotation.id}${rotation.compromised ? ' of a compromised root' : ''}`;
  if (rotation.step === 'done') {
    const tookMs = rotation.stepSinceMs - rotation.startedAtMs;
    return [`${what}: done in ${formatDuration(tookMs)}`, ...(rotation.cutOff.length > 0 ? [`cut off: ${rotation.cutOff.slice(0, SHOWN_WAITING).join(', ')}${rotation.cutOff.length > SHOWN_WAITING ? ', …' : ''}`] : [])];
  }
  const rest = rotation.paused ? ', paused' : rotation.step === rotation.holdBefore ? ', holds here until --resume' : '';
  return [
    `${what}: ${rotation.step}${rest}`,
    ...(rotation.lastError === undefined ? [] : [`  cannot go on: ${rotation.lastError}`]),
    ...(rotation.without.length > 0 ? [`  without ${rotation.without.join(', ')}`] : []),
    ...rotation.waitingFor.slice(0, SHOWN_WAITING).map((w) => `  waits for ${w.name}: ${w.why}`),
    ...(rotation.waitingCount > SHOWN_WAITING ? [`  and ${rotation.waitingCount - SHOWN_WAITING} more`] : []),
  ];
}
