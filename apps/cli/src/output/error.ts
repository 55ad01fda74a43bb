// How a failure reaches the person or program that ran the command: message, hint, code, and the exit code of its class.
import type { Writable } from 'node:stream';
import { ERROR_CLASSES, IsthmusError, messageOf } from '@isthmus/model';

/** Prints the error and answers the exit code. */
export function reportError(error: unknown, stderr: Pick<Writable, 'write'>, asJson: boolean): number {
  const known = error instanceof IsthmusError ? error : undefined;
  if (asJson) {
    const facts = Object.fromEntries(Object.entries(known?.facts ?? {}).map(([key, value]) => [key, typeof value === 'bigint' ? String(value) : value]));
    stderr.write(`${JSON.stringify({ error: { code: known?.code ?? 'INTERNAL', class: known?.class ?? 'internal', message: messageOf(error), hint: known?.hint, facts } })}\n`);
  } else {
    stderr.write(`error: ${messageOf(error)}\n`);
    if (known?.hint !== undefined) stderr.write(`hint: ${known.hint}\n`);
    stderr.write(`code: ${known?.code ?? 'INTERNAL'}\n`);
    if (known === undefined && error instanceof Error && error.stack !== undefined) stderr.write(`${error.stack}\n`);
  }
  return ERROR_CLASSES[known?.class ?? 'internal'].exit;
}
