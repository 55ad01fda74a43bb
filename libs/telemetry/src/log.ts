// Structured logs: a constant message plus fields, one line each, through a bounded sink that never stops traffic.
import { Writable } from 'node:stream';
import { createLogger, format, type Logger, transports } from 'winston';
import { RecentLines } from './recent.ts';
import { RepeatLimit } from './repeat-limit.ts';
import { redact } from './secret.ts';
import { LineSink } from './sink.ts';

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';
export type LogFields = Readonly<Record<string, string | number | boolean | bigint | undefined>>;

/** Levels by who must act: error, a person; warn, degraded but self-healing; info, a change of state; debug, steps. */
export interface Log {
  error(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  debug(message: string, fields?: LogFields): void;
  /** Whether lines of this level are written: asked on hot paths before their fields are put together. */
  isEnabled(level: LogLevel): boolean;
  /** A log that adds these fields to every line. */
  with(fields: LogFields): Log;
}

export type LogOptions = {
  readonly program: string;
  readonly level: LogLevel;
  /** `text` is for people, with colour on a terminal; `json` is one object a line. */
  readonly format: 'json' | 'text';
  /** Standard output without it. */
  readonly stream?: Writable;
};

/** How long `close` waits for a stream that takes nothing. */
const CLOSE_LIMIT_MS = 1_000;

/**
 * Opens the log of a program. Lines are `{time, level, program, msg, ...fields}`; the same warning or error (message and
 * `code`) is written ten times in ten seconds at most and then counted in `heldBack`; PEM keys and tokens are blanked.
 * `close` waits until what was taken is written, for a second at most. Nothing here ever throws or blocks.
 * `recent` keeps the newest lines for who asks at the program's socket.
 */
export function openLog(options: LogOptions): Log & { readonly recent: RecentLines; close(): Promise<void> } {
  const recent = new RecentLines();
  const stream = options.stream ?? process.stdout;
  const toLine = options.format === 'json' ? toJsonLine : makeTextLine('isTTY' in stream && stream.isTTY === true);
  const sink = new LineSink({
    stream,
    lostLine: (lost) => `${toLine({ level: 'warn', message: 'log lines were lost', fields: { program: options.program, lost } })}\n`,
  });
  const lines = new Writable({
    decodeStrings: false,
    write: (line: string, _encoding, done) => {
      sink.write(line);
      done();
    },
  });
  const logger = createLogger({
    level: options.level,
    format: format.printf((info) => {
      const written = info as unknown as Line;
      const line = toLine(written);
      recent.add({ level: written.level as LogLevel, line: options.format === 'json' ? line : toJsonLine(written) });
      return line;
    }),
    transports: [new transports.Stream({ stream: lines, eol: '\n' })],
  });
  const repeats = new RepeatLimit();
  return Object.assign(makeLog(logger, { program: options.program }, repeats), {
    recent,
    close: async () => {
      for (const { key, heldBack } of repeats.takeHeldBack()) {
        const { level, message, code } = JSON.parse(key) as RepeatKey;
        logger.log({ level, message, fields: { program: options.program, code, heldBack } });
      }
      await sink.close(CLOSE_LIMIT_MS);
    },
  });
}

/** A log that says nothing, for tests. */
export function silentLog(): Log {
  const nothing = (): void => undefined;
  const log: Log = { error: nothing, warn: nothing, info: nothing, debug: nothing, isEnabled: () => false, with: () => log };
  return log;
}

type RepeatKey = { readonly level: LogLevel; readonly message: string; readonly code?: string };

function makeLog(logger: Logger, base: LogFields, repeats: RepeatLimit): Log {
  const write = (level: LogLevel, message: string, given: LogFields = {}): void => {
    if (!logger.isLevelEnabled(level)) return;
    const fields = { ...base, ...given };
    if (level === 'info' || level === 'debug') {
      logger.log({ level, message, fields });
      return;
    }
    const key: RepeatKey = { level, message, ...(fields['code'] !== undefined && { code: String(fields['code']) }) };
    const admission = repeats.admit(JSON.stringify(key), performance.now());
    if (!admission.ok) return;
    logger.log({ level, message, fields: admission.heldBack > 0 ? { ...fields, heldBack: admission.heldBack } : fields });
  };
  return {
    error: (message, fields) => write('error', message, fields),
    warn: (message, fields) => write('warn', message, fields),
    info: (message, fields) => write('info', message, fields),
    debug: (message, fields) => write('debug', message, fields),
    isEnabled: (level) => logger.isLevelEnabled(level),
    with: (fields) => makeLog(logger, { ...base, ...fields }, repeats),
  };
}

type Line = { readonly level: string; readonly message: unknown; readonly fields?: LogFields };

function toJsonLine({ level, message, fields }: Line): string {
  const { program, ...rest } = fields ?? {};
  const own = { time: new Date().toISOString(), level, program, msg: message };
  // Twice, so that they stand first and no field can pass itself off as one of them.
  return JSON.stringify({ ...own, ...rest, ...own }, (_name, value: unknown) => printable(value));
}

const COLOURS: Readonly<Record<string, string>> = { error: '31', warn: '33', info: '36', debug: '90' };

function makeTextLine(inColour: boolean): (line: Line) => string {
  return ({ level, message, fields }) => {
    const { program, ...rest } = fields ?? {};
    const pairs = Object.entries(rest).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${JSON.stringify(printable(value))}`]));
    const word = level.padEnd(5);
    const shown = inColour ? `\u001b[${COLOURS[level] ?? '0'}m${word}\u001b[0m` : word;
    return [new Date().toISOString(), shown, String(program), redact(String(message)), ...pairs].join(' ');
  };
}

function printable(value: unknown): unknown {
  if (typeof value === 'bigint') return value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER) ? Number(value) : value.toString();
  return typeof value === 'string' ? redact(value) : value;
}
