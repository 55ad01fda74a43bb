// Structured logs: a constant message plus fields, one line each, through a bounded sink that never stops traffic.
import type { Writable } from 'node:stream';
import { createLogger, format, transports, type Logger } from 'winston';
import { redact } from './secret.ts';

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';
export type LogFields = Readonly<Record<string, string | number | boolean | bigint | undefined>>;

/** Levels by who must act: error, a person; warn, degraded but self-healing; info, a change of state; debug, steps. */
export interface Log {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** A log that adds these fields to every line. */
  with(fields: LogFields): Log;
}

export type LogOptions = {
  readonly program: string;
  readonly level: LogLevel;
  readonly format: 'json' | 'text';
  /** Standard output without it. */
  readonly stream?: Writable;
};

/** The same (level, message, code) is written at most this often in a window; the rest is counted. */
const REPEATS_PER_WINDOW = 10;
const WINDOW_MS = 10_000;
/** Bytes that may wait in the sink; beyond them lines are dropped and counted, never waited for. */
const MAX_BUFFERED_BYTES = 1024 * 1024;

/** Opens the log of a program; `close` waits until everything taken is written. */
export function openLog(options: LogOptions): Log & { close(): Promise<void> } {
  const stream = options.stream ?? process.stdout;
  const sink = boundedSink(stream);
  const logger = createLogger({
    level: options.level,
    format: options.format === 'json' ? format.printf(toJsonLine) : format.printf(toTextLine),
    transports: [new transports.Stream({ stream: sink.stream, eol: '\n' })],
  });
  const repeats = new Map<string, { count: number; since: number }>();
  const log = makeLog(logger, { program: options.program }, (level, message, fields) => mayWrite(repeats, level, message, fields));
  return Object.assign(log, { close: () => sink.drained() });
}

/** A log that says nothing, for tests. */
export function silentLog(): Log {
  const nothing = (): void => undefined;
  const log: Log = { error: nothing, warn: nothing, info: nothing, debug: nothing, with: () => log };
  return log;
}

type Admit = (level: LogLevel, message: string, fields: LogFields) => { readonly ok: boolean; readonly held?: number };

function makeLog(logger: Logger, base: LogFields, admit: Admit): Log {
  const write = (level: LogLevel, message: string, fields: LogFields = {}): void => {
    if (!logger.isLevelEnabled(level)) return;
    const admitted = admit(level, message, fields);
    if (!admitted.ok) return;
    logger.log({ level, message, fields: { ...base, ...fields, ...(admitted.held !== undefined && { heldBack: admitted.held }) } });
  };
  return {
    error: (message, fields) => write('error', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    info: (message, fields) => write('info', message, fields),
    debug: (message, fields) => write('debug', message, fields),
    with: (fields) => makeLog(logger, { ...base, ...fields }, admit),
  };
}

function mayWrite(repeats: Map<string, { count: number; since: number }>, level: LogLevel, message: string, fields: LogFields): ReturnType<Admit> {
  if (level === 'info' || level === 'debug') return { ok: true };
  const key = `${level} ${message} ${String(fields['code'] ?? '')}`;
  const now = Date.now();
  const seen = repeats.get(key);
  if (seen === undefined || now - seen.since >= WINDOW_MS) {
    const held = seen === undefined ? 0 : seen.count - REPEATS_PER_WINDOW;
    if (repeats.size > 1_000) repeats.clear();
    repeats.set(key, { count: 1, since: now });
    return held > 0 ? { ok: true, held } : { ok: true };
  }
  seen.count += 1;
  return { ok: seen.count <= REPEATS_PER_WINDOW };
}

type Line = { readonly level: string; readonly message: unknown; readonly fields?: LogFields };

function toJsonLine(info: unknown): string {
  const { level, message, fields } = info as Line;
  const { program, ...rest } = fields ?? {};
  return JSON.stringify({ time: new Date().toISOString(), level, program, msg: message, ...rest }, (_key, value: unknown) => plain(value));
}

const COLOURS: Readonly<Record<string, string>> = { error: '31', warn: '33', info: '36', debug: '90' };

function toTextLine(info: unknown): string {
  const { level, message, fields } = info as Line;
  const { program, ...rest } = fields ?? {};
  const pairs = Object.entries(rest)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${JSON.stringify(plain(value))}`);
  const word = level.padEnd(5);
  const shown = process.stdout.isTTY ? `\u001b[${COLOURS[level] ?? '0'}m${word}\u001b[0m` : word;
  return [new Date().toISOString(), shown, String(program), String(message), ...pairs].join(' ');
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  return typeof value === 'string' ? redact(value) : value;
}

/** A stream in front of the real one that drops lines once too much is waiting, and outlives the real one's errors. */
function boundedSink(target: Writable): { readonly stream: NodeJS.WritableStream; readonly drained: () => Promise<void> } {
  let dropped = 0;
  let broken = false;
  target.on('error', () => {
    broken = true;
  });
  const write = (chunk: string | Uint8Array): boolean => {
    if (broken) return false;
    if (target.writableLength > MAX_BUFFERED_BYTES) {
      dropped += 1;
      return false;
    }
    if (dropped > 0) {
      target.write(`${JSON.stringify({ level: 'warn', msg: 'log lines were dropped because nobody read them', dropped })}\n`);
      dropped = 0;
    }
    return target.write(chunk);
  };
  const stream = Object.assign(Object.create(target) as NodeJS.WritableStream, { write });
  const drained = (): Promise<void> =>
    new Promise((resolve) => {
      if (broken || target.writableLength === 0) resolve();
      else target.once('drain', resolve).once('error', () => resolve());
    });
  return { stream, drained };
}
