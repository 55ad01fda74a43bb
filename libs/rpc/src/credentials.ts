// Mutual TLS by SPIFFE ID for grpc-js channels: each new connection uses the SVID and bundle of that moment.
import { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import type { Socket } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { formatProblems, type SpiffeId, trustDomainOf } from '@isthmus/model';
import { type BundleSource, svidFacts, svidToPem, type SvidSource, toPem, trustDomainOfCert, verifySvid } from '@isthmus/pki';
import { isRevoked, presentedChain } from './peer-chain.ts';

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
      connect: async (socket) => ({ socket: await secure(socket, this.#tls), secure: true }),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => CallCredentials.createEmpty(),
      destroy: () => undefined,
    };
  }
}

function secure(socket: Socket, tls: SpiffeTls): Promise<TLSSocket> {
  const svid = tls.svids?.current();
  const pem = svid && svidToPem(svid);
  const roots = tls.bundles.all().flatMap((b) => b.x509Authorities.map((a) => toPem(Buffer.from(a, 'base64'))));
  return new Promise((resolve, reject) => {
    const secured = connect({
      socket,
      servername: tls.serverName,
      ALPNProtocols: ['h2'],
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
      closeWhenRevoked(secured, tls.bundles);
      resolve(secured);
    });
  });
}

/** Closes a connection whose server stands on a root that was compromised; the channel dials again by itself. */
function closeWhenRevoked(socket: TLSSocket, bundles: BundleSource): void {
  const chain = presentedChain(socket);
  const [leaf] = chain;
  const id = leaf === undefined ? undefined : trustDomainOfCert(leaf);
  if (id?.ok !== true) return;
  const unsubscribe = bundles.onChange(() => {
    if (isRevoked(chain, id.value, bundles, Date.now())) socket.destroy();
  });
  socket.once('close', unsubscribe);
}
