// One call and one answer: promises on both sides, every call with a limit.
import type { CallOptions, ClientUnaryCall, handleUnaryCall, Metadata, ServerUnaryCall, ServiceError } from '@grpc/grpc-js';
import { Metadata as NewMetadata } from '@grpc/grpc-js';
import { IsthmusError, messageOf } from '@isthmus/model';
import type { Log } from '@isthmus/telemetry';
import { fromServiceError, toServiceError } from './status.ts';

type UnaryMethod<Req, Res> = (request: Req, metadata: Metadata, options: Partial<CallOptions>, callback: (error: ServiceError | null, response: Res) => void) => ClientUnaryCall;

/** Calls a bound client method. **Throws** the server's own IsthmusError, RPC_UNAVAILABLE, RPC_TIMEOUT, RPC_REFUSED. */
export function call<Req, Res>(method: UnaryMethod<Req, Res>, request: Req, options: { readonly timeoutMs: number; readonly signal?: AbortSignal; readonly metadata?: Readonly<Record<string, string>> }): Promise<Res> {
  return new Promise((resolve, reject) => {
    const { signal } = options;
    const onAbort = (): void => running.cancel();
    const metadata = new NewMetadata();
    for (const [name, value] of Object.entries(options.metadata ?? {})) metadata.set(name, value);
    const running = method(request, metadata, { deadline: Date.now() + options.timeoutMs }, (error, response) => {
      signal?.removeEventListener('abort', onAbort);
      if (error === null) resolve(response);
      else reject(fromServiceError(error));
    });
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Makes a gRPC handler of a promise; what it throws goes out by its code, and what has none is logged here and hidden there. */
export function handleUnary<Req, Res>(handle: (request: Req, call: ServerUnaryCall<Req, Res>) => Promise<Res>, log?: Log): handleUnaryCall<Req, Res> {
  return (serverCall, callback) => {
    handle(serverCall.request, serverCall).then(
      (response) => callback(null, response),
      (error: unknown) => {
        if (!(error instanceof IsthmusError)) log?.error('a call failed for an unexpected reason', { error: messageOf(error) });
        callback(toServiceError(error));
      },
    );
  };
}
