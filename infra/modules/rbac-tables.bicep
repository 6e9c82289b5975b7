metadata description = 'Who may read or write which table of one account, with a sentence why.'

@description('App to principal id of its identity.')
param principals object

@description('Name of the storage account.')
param accountName string

@description('Grants on tables: app, table, role, why.')
param tableGrants array

var roles = {
  'Storage Table Data Contributor': '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
  'Storage Table Data Reader': '76199698-9eea-4c19-bc75-cec21354c6b6'
}

resource table 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-01-01' existing = [for grant in tableGrants: {
  name: '${accountName}/default/${grant.table}'
}]

resource onTable 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (grant, i) in tableGrants: {
  name: guid(table[i].id, principals[grant.app], grant.role)
  scope: table[i]
  properties: {
    principalId: principals[grant.app]
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles[grant.role])
    description: grant.why
  }
}]
