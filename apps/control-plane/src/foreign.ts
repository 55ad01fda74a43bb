// Foreign trust domains of this cluster, its own bundle for others, and what an operator may ask about both.
import { type Authority, type ForeignTrust, type ForeignTrustOptions, openForeignTrust, serveBundleEndpoint } from '@isthmus/identity';
import { formatProblems, messageOf, parseFederatedTrustDomain } from '@isthmus/model';
import { foreign as proto, handleUnary, type RpcService } from '@isthmus/rpc';
import type { Config } from './config.ts';
import { fail } from './errors.ts';

export type Foreign = {
  readonly trust: ForeignTrust;
  /** For the operators' socket. */
  readonly service: RpcService;
  readonly close: () => Promise<void>;
};

const MAX_DECLARATION_BYTES = 128 * 1024;

/** Opens what the store knows of foreign trust domains, and the bundle endpoint where one is configured. **Throws** IDENTITY_BUNDLE_ENDPOINT_FAILED, PORT_BUSY, CONTROL_PLANE_BUNDLE_ENDPOINT. */
export async function openForeign(config: Config, authority: Authority, parts: Pick<ForeignTrustOptions, 'store' | 'clock' | 'random' | 'log' | 'metrics'>): Promise<Foreign> {
  const { trustDomain, federation, svids, bundles } = authority;
  const floorMs = config.foreignTrustDomains?.pollFloorMs;
  const proof = proofOf(config.bundleEndpoint, svids);
  const trust = await openForeignTrust({ federation, own: bundles, ...(floorMs !== undefined && { pollFloorMs: floorMs }), ...parts });
  const { listen, refreshHintSeconds } = config.bundleEndpoint ?? {};
  const opening = proof && listen && serveBundleEndpoint({ listen, proof, trustDomain, bundles, refreshHintSeconds, ...parts });
  const endpoint = await opening?.catch(async (error: unknown) => {
    await trust.close();
    throw error;
  });
  if (endpoint !== undefined) parts.log.info('bundle endpoint open', { port: endpoint.port, profile: proof?.profile });
  return {
    trust,
    service: { definition: proto.ForeignTrustService, implementation: makeService(trust, trustDomain) },
    close: async () => {
      await endpoint?.close();
      await trust.close();
    },
  };
}

function proofOf(endpoint: Config['bundleEndpoint'], svids: Authority['svids']): Parameters<typeof serveBundleEndpoint>[0]['proof'] | undefined {
  if (endpoint === undefined) return undefined;
  if (endpoint.profile === 'https_spiffe') return { profile: 'https_spiffe', svids };
  const { certificateFile, keyFile } = endpoint;
  if (certificateFile !== undefined && keyFile !== undefined) return { profile: 'https_web', certificateFile, keyFile };
  throw fail('CONTROL_PLANE_BUNDLE_ENDPOINT', 'bundleEndpoint: the profile https_web needs certificateFile and keyFile');
}

function makeService(trust: ForeignTrust, own: string): proto.ForeignTrustServer {
  return {
    declare: handleUnary(async ({ document }) => ({ changed: await trust.declare(declaration(document)) })),
    remove: handleUnary(async ({ trustDomain }) => ({ existed: await trust.remove(trustDomain) })),
    list: handleUnary(() => Promise.resolve({ documents: trust.status().map((s) => Buffer.from(JSON.stringify(s))) })),
    importBundle: handleUnary(async ({ trustDomain, document, sha256 }) => {
      const { changed, sequence } = await trust.importBundle(trustDomain, document, sha256 === '' ? undefined : sha256);
      return { changed, sequence: BigInt(sequence) };
    }),
    exportBundle: handleUnary(async ({ trustDomain: asked }) => {
      const trustDomain = asked === '' ? own : asked;
      const { document, sequence, sha256 } = trust.exportBundle(trustDomain);
      return { document: Buffer.from(document), sequence: BigInt(sequence), sha256, trustDomain };
    }),
  };
}

function declaration(bytes: Uint8Array): Parameters<ForeignTrust['declare']>[0] {
  if (bytes.byteLength > MAX_DECLARATION_BYTES) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `document is larger than ${MAX_DECLARATION_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw fail('CONTROL_PLANE_RESOURCE_INVALID', `document is not JSON: ${messageOf(error)}`);
  }
  const parsed = parseFederatedTrustDomain(json);
  if (!parsed.ok) throw fail('CONTROL_PLANE_RESOURCE_INVALID', `federated-trust-domain: ${formatProblems(parsed.problems)}`);
  return parsed.value;
}
