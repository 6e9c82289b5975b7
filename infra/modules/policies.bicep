metadata description = 'What must never change in this group, refused by Azure whoever asks: TLS, no keys, no public access.'

@description('Nothing is reached from the internet, and nothing may be made so.')
param isolated bool

// Microsoft's built-in definitions, by their ids (Azure/azure-policy, August 2026); each knows the effect Deny.
var always = [
  { name: 'storage-https', definition: '404c3081-a854-4457-ae30-26a93ef643f9', text: 'Storage is reached over TLS alone.' }
  { name: 'storage-tls', definition: 'fe83a0eb-a853-422d-aac2-1bffd182c5d0', text: 'Storage takes nothing older than TLS 1.2.' }
  { name: 'storage-keys', definition: '8c6a50c6-9ffd-4ae7-986f-5fa6111f9a54', text: 'Storage knows no keys.' }
  { name: 'storage-blobs', definition: '4fa4b6c0-31ca-4c0d-b10d-24b96f62a751', text: 'No blob is public.' }
  { name: 'vault-roles', definition: '12d4fa5e-1f9f-4c21-97a9-b99b3c6611b5', text: 'The vault obeys roles.' }
  { name: 'bus-keys', definition: 'cfb11c26-f069-4c14-8e36-56c394dae5af', text: 'Service Bus knows no connection strings.' }
  { name: 'hubs-keys', definition: '5d4e3c65-4873-47be-94f3-6f8b953a3598', text: 'Event Hubs knows no connection strings.' }
  { name: 'apps-https', definition: '6d555dd1-86f2-4f1c-8ed7-5abae7c6cbab', text: 'Apps are reached over TLS alone.' }
]
var whenIsolated = [
  { name: 'storage-public', definition: 'b2982f36-99f2-4db5-8eff-283140c09693', text: 'Storage is private.' }
  { name: 'vault-public', definition: '405c5871-3e91-4644-8a63-58e19d68ff5b', text: 'The vault is private.' }
  { name: 'bus-public', definition: 'cbd11fd3-3002-4907-b6c8-579f0e700e13', text: 'Service Bus is private.' }
  { name: 'hubs-public', definition: '0602787f-9896-402a-a6e1-39ee63ee435e', text: 'Event Hubs is private.' }
]

resource assignment 'Microsoft.Authorization/policyAssignments@2024-04-01' = [for one in concat(always, isolated ? whenIsolated : []): {
  name: 'sluice-${one.name}'
  properties: {
    displayName: one.text
    policyDefinitionId: tenantResourceId('Microsoft.Authorization/policyDefinitions', one.definition)
    enforcementMode: 'Default'
    parameters: {
      effect: {
        value: 'Deny'
      }
    }
    nonComplianceMessages: [
      {
        message: one.text
      }
    ]
  }
}]
