// The ProxyAdmin service of an agent or gateway as commands and the demo use it.
import { agent, call, type RpcChannel } from '@isthmus/rpc';
import { type ServiceName, type ServiceView, parseSnapshotResource } from '@isthmus/model';
import { type Document, fromJson } from './admin.ts';

const TIMEOUT_MS = 5_000;

/** A service as a proxy has it in force; `view` is undefined where the proxy does not know the service. */
export type ServiceInForce = { readonly version: number; readonly view: ServiceView | undefined };

export interface ProxyApi {
  status(): Promise<Document>;
  setDraining(service: ServiceName, instance: string, draining: boolean): Promise<void>;
  /** Calls `onView` now and at each change in force, until `signal` aborts or the stream ends. */
  watchService(service: ServiceName, signal: AbortSignal, onView: (now: ServiceInForce) => void): Promise<void>;
}

/** The ProxyAdmin service over an open channel. */
export function proxyApi(channel: RpcChannel): ProxyApi {
  const client = channel.client(agent.ProxyAdminClient);
  return {
    status: async () => fromJson((await call(client.status.bind(client), {}, { timeoutMs: TIMEOUT_MS })).document),
    setDraining: async (service, instance, draining) => {
      await call(client.setDraining.bind(client), { namespace: service.namespace, service: service.name, instance, draining }, { timeoutMs: TIMEOUT_MS });
    },
    watchService: (service, signal, onView) =>
      new Promise((resolve, reject) => {
        const stream = client.watchService({ namespace: service.namespace, name: service.name });
        signal.addEventListener('abort', () => stream.cancel(), { once: true });
        stream.on('data', (message: agent.WatchServiceResponse) => onView({ version: Number(message.version), view: toView(message.document) }));
        stream.on('error', (error: Error) => (signal.aborted ? resolve() : reject(error)));
        stream.on('end', () => resolve());
      }),
  };
}

function toView(bytes: Uint8Array): ServiceView | undefined {
  if (bytes.length === 0) return undefined;
  const parsed = parseSnapshotResource(fromJson(bytes));
  return parsed.ok && parsed.value.kind === 'service' ? parsed.value : undefined;
}
