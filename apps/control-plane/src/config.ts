// Every setting of a control plane: name, type, unit, default and what it is for.
import { attestationSchema } from '@isthmus/identity';
import { schemas, type Static, strict, Type } from '@isthmus/model';
import { healthSchema, logSchema } from '@isthmus/runtime';

const tlsFilesSchema = strict({
  ca: Type.String({ description: 'PEM file with the CA that signed the store’s certificate' }),
  cert: Type.String({ description: 'PEM file with this control plane’s client certificate for the store' }),
  key: Type.String({ description: 'PEM file with the key of that certificate, mode 0600' }),
});

export const configSchema = strict({
  cluster: Type.String({ description: 'name of this cluster, unique in the federation', maxLength: 32 }),
  federation: Type.String({ description: 'the federation’s trust domain, such as acme.example' }),
  stateDir: Type.String({ description: 'directory for keys and state, mode 0700' }),
  keyPassphraseFile: Type.Optional(Type.String({ description: 'file of mode 0600 with the passphrase the keys of the intermediate and of JWT-SVIDs are under; its last line feed does not count' })),
  locality: Type.String({ default: '', description: 'region/zone/sub-zone of this cluster' }),
  network: Type.Optional(Type.String({ description: 'network whose addresses this cluster’s gateway reaches directly (default: the cluster’s name)' })),
  gateways: Type.Array(schemas.hostPort, { default: [], description: 'host:port of each of this cluster’s east-west gateways, as peers reach them' }),
  listen: strict({
    host: Type.String({ default: '127.0.0.1', description: 'address for agents, gateways and peers (they come through the gateway)' }),
    port: Type.Integer({ minimum: 0, maximum: 65_535, default: 7_100, description: 'port of the same' }),
  }),
  trustRoot: strict({
    address: schemas.hostPort,
    serverName: Type.Optional(Type.String({ description: 'SNI of the trust root (default: trust-root.isthmus.<federation>)' })),
  }),
  bootstrapTokenFile: Type.Optional(Type.String({ description: 'file with the one-time cluster token; needed on the first start only' })),
  store: strict({
    kind: Type.Union([Type.Literal('embedded'), Type.Literal('etcd')], { default: 'embedded', description: 'the store inside this process, or an etcd cluster' }),
    port: Type.Integer({ minimum: 0, maximum: 65_535, default: 2_379, description: 'embedded: port on loopback' }),
    endpoints: Type.Array(Type.String({ maxLength: 300 }), { default: [], description: 'etcd: https://host:port of each member' }),
    tls: Type.Optional(tlsFilesSchema),
    username: Type.Optional(Type.String({ description: 'etcd: user, where its auth is on' })),
    passwordFile: Type.Optional(Type.String({ description: 'etcd: file with that user’s password, mode 0600' })),
  }),
  intervals: Type.Optional(
    strict({
      graceMs: Type.Optional(Type.Integer({ minimum: 0, default: 10_000, description: 'how long endpoints of a lost agent stay' })),
      svidTtlMs: Type.Optional(Type.Integer({ minimum: 10_000, default: 3_600_000, description: 'life of the SVIDs issued here' })),
    }),
  ),
  bundleEndpoint: Type.Optional(
    strict({
      listen: strict({
        host: Type.String({ default: '0.0.0.0', description: 'address of the SPIFFE bundle endpoint' }),
        port: Type.Integer({ minimum: 0, maximum: 65_535, description: 'port of the SPIFFE bundle endpoint; a gateway may stand in front of it (reserved.bundle)' }),
      }),
      profile: Type.Union([Type.Literal('https_spiffe'), Type.Literal('https_web')], {
        default: 'https_spiffe',
        description: 'how it proves itself: by this control plane’s SVID, or by a certificate of the web’s CAs',
      }),
      certificateFile: Type.Optional(Type.String({ description: 'https_web: PEM file with the certificate chain, read again every minute' })),
      keyFile: Type.Optional(Type.String({ description: 'https_web: PEM file with its key, mode 0600' })),
      refreshHintSeconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400, description: 'how often readers should come again (default: what the bundle says, 300)' })),
    }),
  ),
  foreignTrustDomains: Type.Optional(
    strict({ pollFloorMs: Type.Integer({ minimum: 100, default: 10_000, description: 'no foreign bundle endpoint is asked more often, whatever its hint says' }) }),
  ),
  kubernetes: Type.Optional(
    strict({
      kubeconfig: Type.Optional(Type.String({ maxLength: 4_096, description: 'kubeconfig of the Kubernetes cluster whose Services and ServiceExports are declared here (default: this pod’s own service account)' })),
      context: Type.Optional(Type.String({ maxLength: 512, description: 'context of the kubeconfig (default: its current one)' })),
      server: Type.Optional(Type.String({ maxLength: 2_048, description: 'in a pod: address of the API server (default: https://kubernetes.default.svc)' })),
      namespaces: Type.Optional(Type.Array(schemas.dnsLabel, { maxItems: 64, description: 'only these namespaces (default: all but kube-…)' })),
      writeStatus: Type.Optional(Type.Boolean({ default: true, description: 'write the conditions Valid, Ready and Conflict of ServiceExports' })),
    }),
  ),
  attestation: Type.Optional(attestationSchema),
  adminSocket: Type.Optional(Type.String({ description: 'Unix socket for operators (default: <stateDir>/admin.sock)' })),
  health: healthSchema,
  log: logSchema,
});
export type Config = Static<typeof configSchema>;
