// The one way to dial: mutual TLS by SPIFFE ID over TCP, or plain over a Unix socket.
import { ChannelCredentials, type ChannelOptions, type Client } from '@grpc/grpc-js';
import type { SpiffeId } from '@isthmus/model';
import { type BundleSource, openBundleSet, type SvidSource } from '@isthmus/pki';
import type { Log } from '@isthmus/telemetry';
import { toTarget } from './address.ts';
import { SpiffeCredentials } from './credentials.ts';

export type OpenChannelOptions = {
  /** `host:port`, several of them tried in turn, or `unix:/path`. */
  readonly address: string | readonly string[];
  /** SNI, for everything but Unix sockets. */
  readonly serverName?: string;
  readonly expectedId?: SpiffeId;
  readonly svids?: SvidSource;
  readonly bundles?: BundleSource;
  readonly log: Log;
};

type ClientConstructor<T extends Client> = new (address: string, credentials: ChannelCredentials, options?: Partial<ChannelOptions>) => T;

/** A channel: connects on first use, again by itself with jittered backoff, always with the credentials of the moment. */
export interface RpcChannel {
  readonly address: string;
  /** A client of one service; all clients of a channel share its connection. */
  client<T extends Client>(constructor: ClientConstructor<T>): T;
  close(): void;
}

export const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;

const OPTIONS: Partial<ChannelOptions> = {
  'grpc.keepalive_time_ms': 10_000,
  'grpc.keepalive_timeout_ms': 5_000,
  'grpc.keepalive_permit_without_calls': 1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2_000,
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  // Subchannels are shared by target and credentials otherwise, and would outlive this channel.
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_channelz': 0,
};

/** **Throws** TypeError when a TCP address comes without server name. */
export function openChannel(options: OpenChannelOptions): RpcChannel {
  const addresses = typeof options.address === 'string' ? [options.address] : options.address;
  const target = toTarget(addresses);
  const isLocal = target.startsWith('unix:');
  if (!isLocal && options.serverName === undefined) throw new TypeError(`dialling ${target} needs a server name`);
  const credentials = isLocal
    ? ChannelCredentials.createInsecure()
    : new SpiffeCredentials({
        serverName: options.serverName ?? '',
        bundles: options.bundles ?? openBundleSet(),
        ...(options.expectedId !== undefined && { expectedId: options.expectedId }),
        ...(options.svids && { svids: options.svids }),
      });
  const channelOptions = { ...OPTIONS, 'grpc.default_authority': options.serverName ?? 'localhost' };
  const clients: Client[] = [];
  let first: Client | undefined;
  return {
    address: target,
    client: (constructor) => {
      const shared = first === undefined ? channelOptions : { ...channelOptions, channelOverride: first.getChannel() };
      const made = new constructor(target, credentials, shared);
      first ??= made;
      clients.push(made);
      return made;
    },
    close: () => {
      for (const client of clients.splice(0)) client.close();
      first = undefined;
    },
  };
}
