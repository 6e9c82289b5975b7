metadata description = 'What the one who deploys may do with data: set the first secrets and keep packages, nothing else.'

@description('Object id of the user or service principal in Entra ID.')
param principalId string

@description('User or ServicePrincipal.')
@allowed([
  'User'
  'ServicePrincipal'
])
param principalType string

@description('Key vault.')
param vaultName string

@description('Storage account with the packages.')
param accountName string

@description('Container that keeps every package that was rolled out.')
param containerName string

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' existing = {
  name: vaultName
}

resource onVault 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, principalId, 'Key Vault Secrets Officer')
  scope: vault
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'b86a8fe4-44ce-4948-aee5-eccb2c155cd7')
    description: 'Sets the first secrets after provisioning, where there are none yet.'
  }
}

resource releases 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' existing = {
  name: '${accountName}/default/${containerName}'
}

resource onReleases 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(releases.id, principalId, 'Storage Blob Data Contributor')
  scope: releases
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', 'ba92f5b4-2d11-453d-a403-e96b0029c9fe')
    description: 'Keeps every package that is rolled out, and takes the one before for a rollback.'
  }
}
