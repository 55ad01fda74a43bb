// Between a service's handlers and gRPC: a handler is a promise, a coded failure becomes a status, anything else tells nothing.
import { IsthmusError, messageOf } from '@isthmus/model';
import { toServiceError } from '@isthmus/rpc';
import type { Log } from '@isthmus/telemetry';
import { fail } from './errors.ts';

type Callback<Res> = (error: Error | null, response?: Res) => void;

/** Wraps a unary handler; what it throws goes out by its code, and what has none is logged here and hidden there. */
export function unaryHandler<Call, Res>(log: Log, handle: (call: Call) => Promise<Res>): (call: Call, callback: Callback<Res>) => void {
  return (call, callback) => {
    handle(call).then(
      (response) => callback(null, response),
      (error: unknown) => callback(toServiceError(toCoded(error, log))),
    );
  };
}

function toCoded(error: unknown, log: Log): IsthmusError {
  if (error instanceof IsthmusError) return error;
  log.error('a call failed for an unexpected reason', { error: messageOf(error) });
  return fail('IDENTITY_INTERNAL', 'the call failed inside the server; its log says why');
}
