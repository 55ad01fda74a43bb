// `data.isthmus_trust_bundle`: whom a cluster believes, for one trust domain.
import { clusterTrustDomain, type Bundle } from '@isthmus/model';
import { toPem } from '@isthmus/pki';
import type { Api } from '../connection/api.ts';
import { fail } from '../errors.ts';
import { listOf, NUMBER, STRING } from '../protocol/attribute.ts';
import type { DataSourceDefinition } from '../protocol/definition.ts';
import { textAt } from '../protocol/value.ts';
import { absentAsUndefined } from '../resources/declared.ts';
import { clusterOf, clusterProblems, READ_CLUSTER } from '../resources/scope.ts';

export const trustBundle: DataSourceDefinition<Api> = {
  typeName: 'isthmus_trust_bundle',
  description: 'The trust bundle a cluster holds of a trust domain: its own, that of another cluster, or of a foreign one.',
  example: `data "isthmus_trust_bundle" "east" {
  cluster = "east"
}`,
  attributes: {
    cluster: READ_CLUSTER,
    trust_domain: { type: STRING, mode: 'optional-computed', description: 'Trust domain whose bundle it is; the cluster’s own without it.' },
    sequence: { type: NUMBER, mode: 'computed', description: 'Grows with every change.' },
    refresh_hint_seconds: { type: NUMBER, mode: 'computed', description: 'How often it is worth asking again.' },
    x509_authorities: { type: listOf(STRING), mode: 'computed', description: 'Root certificates, PEM.' },
    pem: { type: STRING, mode: 'computed', description: 'The same in one text, such as the provider’s `ca_certificate` takes.' },
  },
  validate: clusterProblems,
  read: async (api, config, { signal }) => {
    const cluster = clusterOf(api, config);
    const trustDomain = textAt(config, 'trust_domain') ?? clusterTrustDomain(cluster, api.federation());
    const found = await absentAsUndefined(api.call<Bundle>('getBundles', { params: { cluster, trustDomain } }, signal));
    if (found === undefined) throw fail('TERRAFORM_NOT_CONFIGURED', `${cluster} holds no bundle of ${trustDomain}`);
    const authorities = found.value.x509Authorities.map((base64) => toPem(Buffer.from(base64, 'base64')));
    return { state: { cluster, trust_domain: trustDomain, sequence: found.value.sequence, refresh_hint_seconds: found.value.refreshHintSeconds, x509_authorities: authorities, pem: authorities.join('') } };
  },
};
