// Mutual TLS by SPIFFE ID for grpc-js channels: each new connection uses the SVID and bundle of that moment.
import { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { formatProblems, messageOf, type SpiffeId, trustDomainOf } from '@isthmus/model';
import { type BundleSource, svidFacts, svidToPem, type SvidSource, toPem, trustDomainOfCert, verifySvid } from '@isthmus/pki';
import { splitAddress } from './address.ts';
import { fail } from './errors.ts';
import { isBanned, isRevoked, presentedChain } from './peer-chain.ts';

export type SpiffeTls = {
  /** SNI; never an IP address (RFC 6066 §3). */
  readonly serverName: string;
  /** The server's whole ID; without it any ID of a trust domain we hold a bundle for. */
  readonly expectedId?: SpiffeId;
  /** Without it no client certificate is presented. */
  readonly svids?: SvidSource;
  readonly bundles: BundleSource;
};

const HANDSHAKE_TIMEOUT_MS = 5_000;

/** Why a server is not the one we want, or undefined. */
export function serverProblem(chain: readonly Buffer[], tls: Pick<SpiffeTls, 'expectedId' | 'bundles'>, nowMs: number): string | undefined {
  const [leaf] = chain;
  if (leaf === undefined) return 'the server presented no certificate';
  const id = trustDomainOfCert(leaf);
  if (!id.ok) return formatProblems(id.problems);
  if (tls.expectedId !== undefined && id.value !== tls.expectedId) return `the server is ${id.value}, not ${tls.expectedId}`;
  const trustDomain = trustDomainOf(id.value);
  const verdict = verifySvid({ chain, bundle: tls.bundles.get(trustDomain), nowMs });
  if (!verdict.ok) return `${verdict.reason}: ${verdict.detail}`;
  return tls.bundles.bans(trustDomain)?.of(svidFacts(id.value, chain)) === undefined ? undefined : `banned: ${id.value} is banned`;
}

/** Credentials for one channel; rotation needs no new channel, as every connection asks the sources anew. */
export class SpiffeCredentials extends ChannelCredentials {
  readonly #tls: SpiffeTls;

  constructor(tls: SpiffeTls) {
    super();
    this.#tls = tls;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  override _createSecureConnector(): ReturnType<ChannelCredentials['_createSecureConnector']> {
    return {
      connect: async (socket) => ({ socket: await secure(socket, this.#tls, 'h2'), secure: true }),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => CallCredentials.createEmpty(),
      destroy: () => undefined,
    };
  }
}

/**
 * Dials the first address that answers and proves who it is, for other protocols than gRPC; `protocol` is the ALPN name.
 * **Throws** RPC_UNAVAILABLE naming what each address said. **Bounds** 5 s for each connect and each handshake.
 */
export async function dialTls(addresses: readonly string[], tls: SpiffeTls, protocol: 'http/1.1' | 'h2'): Promise<TLSSocket> {
  const failures: string[] = [];
  for (const address of addresses) {
    try {
      return await secure(await connected(address), tls, protocol);
    } catch (error) {
      failures.push(`${address}: ${messageOf(error)}`);
    }
  }
  throw fail('RPC_UNAVAILABLE', `${tls.serverName} cannot be reached: ${failures.join('; ') || 'it has no address'}`);
}

function connected(address: string): Promise<Socket> {
  const { host, port } = splitAddress(address);
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port });
    const refuse = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(HANDSHAKE_TIMEOUT_MS, () => refuse(new Error('connecting timed out')));
    socket.once('error', refuse);
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.off('error', refuse);
      resolve(socket);
    });
  });
}

function secure(socket: Socket, tls: SpiffeTls, protocol: string): Promise<TLSSocket> {
  const svid = tls.svids?.current();
  const pem = svid && svidToPem(svid);
  const roots = tls.bundles.all().flatMap((b) => b.x509Authorities.map((a) => toPem(Buffer.from(a, 'base64'))));
  return new Promise((resolve, reject) => {
    const secured = connect({
      socket,
      servername: tls.serverName,
      ALPNProtocols: [protocol],
      minVersion: 'TLSv1.3',
      ca: [...new Set(roots)],
      // The chain is verified below, whole and against one bundle; OpenSSL has checked the same signatures by then.
      rejectUnauthorized: true,
      checkServerIdentity: () => undefined,
      ...(pem && { cert: pem.certPem, key: pem.keyPem }),
    });
    const refuse = (error: Error): void => {
      secured.destroy();
      reject(error);
    };
    secured.setTimeout(HANDSHAKE_TIMEOUT_MS, () => refuse(new Error('TLS handshake timed out')));
    secured.on('error', refuse);
    secured.once('close', () => refuse(new Error('the connection closed during the TLS handshake')));
    secured.once('secureConnect', () => {
      secured.setTimeout(0);
      const problem = serverProblem(presentedChain(secured), tls, Date.now());
      if (problem !== undefined) return refuse(new Error(problem));
      closeWhenRefused(secured, tls.bundles);
      resolve(secured);
    });
  });
}

/** Closes a connection whose server is banned or fenced, or stands on a root that was compromised; the channel dials again by itself. */
function closeWhenRefused(socket: TLSSocket, bundles: BundleSource): void {
  const chain = presentedChain(socket);
  const [leaf] = chain;
  const id = leaf === undefined ? undefined : trustDomainOfCert(leaf);
  if (id?.ok !== true) return;
  const facts = svidFacts(id.value, chain);
  const unsubscribe = bundles.onChange(() => {
    if (isBanned(id.value, facts, bundles) || isRevoked(chain, id.value, bundles, Date.now())) socket.destroy();
  });
  socket.once('close', unsubscribe);
}
