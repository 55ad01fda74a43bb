// The provider's gRPC server on a private Unix socket, with a certificate made for this one run, and its end when Terraform is gone.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseSpiffeId, parseTrustDomain, valueOf } from '@isthmus/model';
import { exportKeyPem, generateKey, signRoot, signSvid, toPem } from '@isthmus/pki';
import { handleUnary, Metadata, plugin, Server, ServerCredentials, terraform, type UntypedServiceImplementation } from '@isthmus/rpc';
import type { Clock } from '@isthmus/runtime';
import { createPublicKey } from 'node:crypto';
import type { Calls, Engine } from './engine.ts';
import type { Handshake } from './handshake.ts';

/** Whom Terraform expects by name. Source: HashiCorp’s plug-in handshake. */
const SERVER_NAME = 'localhost';
const TRUST_DOMAIN = valueOf(parseTrustDomain('terraform-provider.invalid'));
/** Longer than any run. */
const CERTIFICATE_TTL_MS = 30 * 24 * 3_600_000;
/** Terraform connects within moments of the handshake, or never. */
const CONNECT_LIMIT_MS = 60_000;
/** The answer to Shutdown must leave first. */
const SHUTDOWN_DELAY_MS = 20;
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

export type Served = {
  readonly socketPath: string;
  /** The certificate (DER) that vouches for the server; undefined without TLS. */
  readonly serverCa: Buffer | undefined;
  /** Resolves when Terraform asked it to end, or is gone. */
  readonly ended: Promise<void>;
  close(): Promise<void>;
};

/** Serves the engine. **Throws** what the socket throws. */
export async function serveProvider(options: { readonly engine: Engine; readonly handshake: Handshake; readonly clock: Clock }): Promise<Served> {
  const { engine, handshake, clock } = options;
  const directory = await mkdtemp(join(tmpdir(), 'isthmus-terraform-'));
  const socketPath = join(directory, 's');
  const ended = Promise.withResolvers<void>();
  const server = new Server({ 'grpc.max_receive_message_length': MAX_MESSAGE_BYTES, 'grpc.max_send_message_length': MAX_MESSAGE_BYTES, 'grpc.enable_channelz': 0 });
  server.addService(terraform.ProviderService, providerService(engine));
  const neverCame = clock.setTimer(CONNECT_LIMIT_MS, ended.resolve);
  server.addService(plugin.GRPCControllerService, {
    shutdown: handleUnary(async () => {
      clock.setTimer(SHUTDOWN_DELAY_MS, ended.resolve);
      return {};
    }),
  });
  server.addService(plugin.GRPCStdioService, stdioService(() => neverCame.cancel(), ended.resolve));
  const certificate = handshake.clientCertPem === undefined ? undefined : makeCertificate(clock.nowMs());
  const credentials = certificate === undefined ? ServerCredentials.createInsecure() : ServerCredentials.createSsl(Buffer.from(handshake.clientCertPem ?? ''), [certificate.pair], true);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, credentials, (error) => (error === null ? resolve() : reject(error)));
  });
  return {
    socketPath,
    serverCa: certificate?.ca,
    ended: ended.promise,
    close: async () => {
      neverCame.cancel();
      server.forceShutdown();
      await engine.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A CA and a certificate for `localhost` of it, both gone with this process: Terraform takes the CA from the handshake. */
function makeCertificate(nowMs: number): { readonly ca: Buffer; readonly pair: { readonly private_key: Buffer; readonly cert_chain: Buffer } } {
  const [caKey, key] = [generateKey(), generateKey()];
  const ca = signRoot({ key: caKey, federation: TRUST_DOMAIN, nowMs, ttlMs: CERTIFICATE_TTL_MS });
  const leaf = signSvid({ issuer: { cert: ca, key: caKey }, publicKey: createPublicKey(key), spiffeId: valueOf(parseSpiffeId(`spiffe://${TRUST_DOMAIN}/server`)), dnsNames: [SERVER_NAME], nowMs, ttlMs: CERTIFICATE_TTL_MS });
  return { ca, pair: { private_key: Buffer.from(exportKeyPem(key)), cert_chain: Buffer.from(toPem(leaf) + toPem(ca)) } };
}

function providerService(engine: Engine): UntypedServiceImplementation {
  const calls: Calls = engine;
  return {
    getProviderSchema: handleUnary(calls.getProviderSchema),
    validateProviderConfig: handleUnary(calls.validateProviderConfig),
    configureProvider: handleUnary(calls.configureProvider),
    validateResourceConfig: handleUnary(calls.validateResourceConfig),
    validateDataResourceConfig: handleUnary(calls.validateDataResourceConfig),
    upgradeResourceState: handleUnary(calls.upgradeResourceState),
    readResource: handleUnary(calls.readResource),
    planResourceChange: handleUnary(calls.planResourceChange),
    applyResourceChange: handleUnary(calls.applyResourceChange),
    importResourceState: handleUnary(calls.importResourceState),
    readDataSource: handleUnary(calls.readDataSource),
    stopProvider: handleUnary(calls.stopProvider),
  };
}

/** Terraform opens this stream at once and holds it as long as it lives: its end without a word is Terraform's own end. */
function stdioService(onOpen: () => void, onGone: () => void): UntypedServiceImplementation {
  const streamStdio: plugin.GRPCStdioServer['streamStdio'] = (call) => {
    onOpen();
    call.sendMetadata(new Metadata());
    call.on('cancelled', onGone);
    call.on('error', onGone);
  };
  return { streamStdio };
}
