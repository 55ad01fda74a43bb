// `isthmus_export`: a service offered to other clusters, and to callers of foreign trust domains.
import { RESOURCES } from '@isthmus/api';
import { parseExport } from '@isthmus/model';
import { declaredResource } from './declared.ts';
import { resourceNamed } from './named.ts';

export const exported = declaredResource({
  typeName: 'isthmus_export',
  description: 'The offer of a service to other clusters of the federation. What is not exported does not exist for them. The service must be declared in the same cluster.',
  example: `resource "isthmus_export" "payments" {
  cluster   = isthmus_service.payments.cluster
  namespace = isthmus_service.payments.namespace
  name      = isthmus_service.payments.name
  consumers = ["west"] # or ["*"]: every cluster

  foreign_callers = [
    { trust_domain = "partner.example", spiffe_ids = ["spiffe://partner.example/billing"] },
  ]
}`,
  resource: resourceNamed(RESOURCES, 'export'),
  parse: parseExport,
});
