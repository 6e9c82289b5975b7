metadata description = 'Who may do what: each assignment at the narrowest scope there is, with a sentence why.'

@description('App to principal id of its identity.')
param principals object

@description('Service Bus namespace.')
param serviceBusName string

@description('Event Hubs namespace.')
param eventHubsName string

@description('Storage account by purpose.')
param accounts object

@description('Key vault.')
param vaultName string

@description('Application Insights component.')
param componentName string

@description('Grants on queues: app, queue, role, why.')
param queueGrants array

@description('Grants on topics: app, topic, role, why.')
param topicGrants array

@description('Grants on hubs: app, hub, role, why.')
param hubGrants array

@description('Grants on containers: app, account, container, role, why.')
param containerGrants array

@description('Grants on whole accounts: app, account, role, why.')
param accountGrants array

@description('Grants on the vault: app, role, why.')
param vaultGrants array

@description('Grants on keys of the vault: app, key, role, why.')
param keyGrants array

@description('Grants on Application Insights: app, role, why.')
param telemetryGrants array

var roles = {
  'Azure Service Bus Data Owner': '090c5cfd-751d-490a-894a-3ce6f1109419'
  'Azure Service Bus Data Sender': '69a216fc-b8fb-44d8-bc22-1f3c2cd27a39'
  'Azure Service Bus Data Receiver': '4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0'
  'Azure Event Hubs Data Sender': '2b629674-e913-4c01-ae53-ef4638d8f975'
  'Azure Event Hubs Data Receiver': 'a638d3c7-ab3a-418d-83e6-5f17a39d4fde'
  'Storage Blob Data Owner': 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
  'Storage Blob Delegator': 'db58b8e5-c6ad-4a2a-8342-4190687cbf4a'
  'Storage Blob Data Contributor': 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  'Storage Blob Data Reader': '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
  'Key Vault Secrets Officer': 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7'
  'Key Vault Secrets User': '4633458b-17de-408a-b874-0445c86b69e6'
  'Key Vault Crypto Service Encryption User': 'e147488a-f6f5-4113-8e2d-b22465e65bf6'
  'Monitoring Metrics Publisher': '3913510d-42f4-4e42-8a64-420c390055eb'
}

resource serviceBus 'Microsoft.ServiceBus/namespaces@2024-01-01' existing = {
  name: serviceBusName
}

resource queue 'Microsoft.ServiceBus/namespaces/queues@2024-01-01' existing = [for grant in queueGrants: {
  parent: serviceBus
  name: grant.queue
}]

resource onQueue 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (grant, i) in queueGrants: {
  name: guid(queue[i].id, principals[grant.app], grant.role)
  scope: queue[i]
  properties: {
    principalId: principals[grant.app]
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[grant.role])
    description: grant.why
  }
}]

resource topic 'Microsoft.ServiceBus/namespaces/topics@2024-01-01' existing = [for grant in topicGrants: {
  parent: serviceBus
  name: grant.topic
}]

resource onTopic 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (grant, i) in topicGrants: {
  name: guid(topic[i].id, principals[grant.app], grant.role)
  scope: topic[i]
  properties: {
    principalId: principals[grant.app]
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[grant.role])
    description: grant.why
  }
}]

resource eventHubs 'Microsoft.EventHub/namespaces@2024-01-01' existing = {
  name: eventHubsName
}

resource hub 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' existing = [for grant in hubGrants: {
  parent: eventHubs
  name: grant.hub
}]

resource onHub 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (grant, i) in hubGrants: {
  name: guid(hub[i].id, principals[grant.app], grant.role)
  scope: hub[i]
  properties: {
    principalId: principals[grant.app]
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[grant.role])
    description: grant.why
  }
}]

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = [for grant in containerGrants: {
  name: '${accounts[grant.account]}/default/${grant.container}'
}]

resource onContainer 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (grant, i) in containerGrants: {
  name: guid(container[i].id, principals[grant.app], grant.role)
  scope: container[i]
  properties: {
    principalId: principals[grant.app]
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[grant.role])
    description: grant.why
  }
}]

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = [for grant in accountGrants: {
  name: accounts[grant.account]
}]

resource onAccount 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (grant, i) in accountGrants: {
  name: guid(account[i].id, principals[grant.app], grant.role)
  scope: account[i]
  properties: {
    principalId: principals[grant.app]
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[grant.role])
    description: grant.why
  }
}]

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

resource onVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for grant in vaultGrants: {
  name: guid(vault.id, principals[grant.app], grant.role)
  scope: vault
  properties: {
    principalId: principals[grant.app]
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[grant.role])
    description: grant.why
  }
}]

resource key 'Microsoft.KeyVault/vaults/keys@2024-11-01' existing = [for grant in keyGrants: {
  parent: vault
  name: grant.key
}]

resource onKey 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (grant, i) in keyGrants: {
  name: guid(key[i].id, principals[grant.app], grant.role)
  scope: key[i]
  properties: {
    principalId: principals[grant.app]
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[grant.role])
    description: grant.why
  }
}]

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource onTelemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for grant in telemetryGrants: {
  name: guid(component.id, principals[grant.app], grant.role)
  scope: component
  properties: {
    principalId: principals[grant.app]
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[grant.role])
    description: grant.why
  }
}]
