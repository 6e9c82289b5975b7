metadata description = 'Lets Event Hubs write its files (Capture) into the lake.'

@description('Principal id of the namespace\'s identity.')
param principalId string

@description('Name of the lake\'s account.')
param accountName string

@description('Container that Capture writes to.')
param containerName string

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = {
  name: '${accountName}/default/${containerName}'
}

resource onContainer 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(container.id, principalId, 'Storage Blob Data Contributor')
  scope: container
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'ba92f5b4-2d11-453d-a403-e96b0029c9fe')
    description: 'Capture writes the events of each partition as files here.'
  }
}
